//! HTTP/1.1 by hand: a well-behaved library would not let a server lie about its own answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

/// How much an endless body grows by each time.
static CHUNK: [u8; 64 * 1024] = [b' '; 64 * 1024];

/// A server on a free port of this machine, until it is dropped.
#[derive(Debug)]
pub struct Loopback {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

/// What a client asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path as it was sent.
    pub path: String,
    /// Headers, their names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The body, if its length was said.
    pub body: Bytes,
}

/// What it gets.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers beside those that say how long the body is.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Sending,
}

/// How a body is sent.
#[derive(Clone, Debug)]
pub enum Sending {
    /// As it should be.
    Whole(Bytes),
    /// White space that never ends.
    Endless,
    /// A length that is not the true one, then these bytes, then the end of the connection.
    Lying(usize, Bytes),
    /// One byte after the other, with a pause before each.
    Dripping(Bytes, Duration),
    /// The connection ends instead of any answer.
    Nothing,
}

impl Reply {
    /// An answer as it should be.
    #[must_use]
    pub const fn new(status: u16, body: Bytes) -> Self {
        Self { status, headers: Vec::new(), body: Sending::Whole(body) }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Loopback {
    /// Has `answer` answer every request, each in a thread of its own.
    ///
    /// # Panics
    /// No port can be had.
    #[must_use]
    pub fn serve(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("this machine has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (stopped, answer) = (Arc::new(AtomicBool::new(false)), Arc::new(answer));
        let stop = Arc::clone(&stopped);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let answer = Arc::clone(&answer);
                thread::spawn(move || exchange(&connection, answer.as_ref()));
            }
        });
        Self { address, stopped }
    }

    /// `127.0.0.1:PORT`, as it stands in names of repositories.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

/// One request and one answer. A client that turns away is no fault.
fn exchange(connection: &TcpStream, answer: &dyn Fn(&Request) -> Reply) {
    let Some(request) = read(connection) else { return };
    let _gone = send(connection, &answer(&request));
}

fn read(connection: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(connection);
    let mut lines = reader.by_ref().lines().map_while(Result::ok);
    let first = lines.next()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    let headers: BTreeMap<_, _> = headers.collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body).ok()?;
    Some(Request { method, path, headers, body: body.into() })
}

fn send(mut connection: &TcpStream, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", reply.status);
    let said = match &reply.body {
        Sending::Nothing => return Ok(()),
        Sending::Endless => None,
        Sending::Whole(bytes) | Sending::Dripping(bytes, _) => Some(bytes.len()),
        Sending::Lying(said, _) => Some(*said),
    };
    if let Some(said) = said {
        write!(head, "content-length: {said}\r\n").expect("a string can be written");
    }
    for (name, value) in &reply.headers {
        write!(head, "{name}: {value}\r\n").expect("a string can be written");
    }
    connection.write_all(head.as_bytes())?;
    connection.write_all(b"\r\n")?;
    match &reply.body {
        Sending::Nothing => Ok(()),
        Sending::Whole(bytes) | Sending::Lying(_, bytes) => connection.write_all(bytes),
        Sending::Endless => loop {
            connection.write_all(&CHUNK)?;
        },
        Sending::Dripping(bytes, pause) => bytes.iter().try_for_each(|byte| {
            thread::sleep(*pause);
            connection.write_all(&[*byte])
        }),
    }
}
