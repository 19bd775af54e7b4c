//! A static file server on loopback: serves a foreign repository as it lies on the disk.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Serves one folder until it is dropped.
#[derive(Debug)]
pub struct StaticFiles {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    stopped: Arc<AtomicBool>,
}

impl StaticFiles {
    /// Serve `folder` on a free port of 127.0.0.1, each request by a thread of its own.
    ///
    /// # Panics
    /// No port can be had.
    #[must_use]
    pub fn serve(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address").to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let (folder, log, stop) = (folder.to_owned(), Arc::clone(&requests), Arc::clone(&stopped));
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (folder, log) = (folder.clone(), Arc::clone(&log));
                thread::spawn(move || answer(&connection, &folder, &log));
            }
        });
        Self { address, requests, stopped }
    }

    /// Address of `path` below the folder.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Every path asked for so far, in order.
    ///
    /// # Panics
    /// A thread of the server has panicked.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no request panicked").clone()
    }
}

impl Drop for StaticFiles {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(&self.address));
    }
}

/// One request, one answer, then the connection ends. A peer that goes away is no fault.
fn answer(mut connection: &TcpStream, folder: &Path, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    lines.find(String::is_empty);
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = find(folder, &path).and_then(|file| std::fs::read(file).ok());
    log.lock().expect("no request panicked").push(path);
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    let mut head = String::new();
    write!(head, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len())
        .expect("writing to a string does not fail");
    let _gone = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(&body));
}

/// The file that a request means: its name as sent, or decoded. Nothing above the folder.
fn find(folder: &Path, path: &str) -> Option<PathBuf> {
    let as_sent = path.trim_start_matches('/').to_owned();
    [decode(&as_sent), as_sent].into_iter().map(PathBuf::from).find_map(|name| {
        let plain = name.components().all(|part| matches!(part, Component::Normal(_)));
        Some(folder.join(name)).filter(|file| plain && file.is_file())
    })
}

/// Undo percent encoding.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%').then(|| tail.get(..2).and_then(|two| hex::decode(two).ok())).flatten();
        match escaped {
            Some(byte) => {
                bytes.extend(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
