//! The yardstick of publishing: a log that does nothing but become durable.
//!
//! Writers make records, hash them (no log of value is without) and hand them to one committer, which takes what has queued up meanwhile (at most
//! [`GROUP`]), writes it in one piece, waits for one `fdatasync` and answers all: natural
//! group commit, without any artificial delay.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bulla_keys_schema::digest::Sha256Digest;

use crate::process::cpu_seconds;

/// Bytes of one record: two small documents, snapshot, timestamp and a frame.
pub const RECORD: usize = 4_600;
/// Most records of one sync.
const GROUP: usize = 256;
/// Bytes that are written before the start and overwritten from then on.
const SEGMENT: u64 = 64 * 1024 * 1024;

/// How the file is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Blocks that the file has already: the faster way.
    Overwrite,
    /// A file that grows, so that each sync writes the file's length and its map as well.
    Append,
}

/// What a round led to.
pub struct RawRound {
    /// Durable records per second.
    pub rate: f64,
    /// Syncs per record.
    pub syncs: f64,
    /// Processor seconds per record.
    pub cpu: f64,
}

struct Writer {
    done: AtomicU64,
    thread: thread::Thread,
}

type Request = (Arc<Writer>, Vec<u8>);

/// Lets `writers` threads write for `duration`.
pub fn run(folder: &Path, writers: usize, duration: Duration, mode: Mode) -> io::Result<RawRound> {
    let path = folder.join("raw-log");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    if mode == Mode::Overwrite {
        let zeros = vec![0; 1024 * 1024];
        (0..SEGMENT).step_by(zeros.len()).try_for_each(|at| file.write_all_at(&zeros, at))?;
    }
    file.sync_all()?;
    let stop = AtomicBool::new(false);
    let (records, syncs) = (AtomicU64::new(0), AtomicU64::new(0));
    let (queue, incoming) = sync_channel::<Request>(GROUP);
    let cpu = cpu_seconds("self")?;
    let start = Instant::now();
    let elapsed = thread::scope(|scope| {
        let (file, stop, records, syncs) = (&file, &stop, &records, &syncs);
        let committer = scope.spawn(move || commit(file, mode, &incoming, records, syncs));
        for _ in 0..writers {
            let queue = queue.clone();
            scope.spawn(move || write(&queue, stop));
        }
        thread::sleep(duration);
        let counted = records.load(Ordering::Relaxed);
        let elapsed = start.elapsed();
        stop.store(true, Ordering::Relaxed);
        drop(queue);
        committer
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the committer panicked")))
            .map(|()| (elapsed, counted))
    });
    let (elapsed, counted) = elapsed?;
    fs::remove_file(&path)?;
    let all = records.load(Ordering::Relaxed) as f64;
    Ok(RawRound {
        rate: counted as f64 / elapsed.as_secs_f64(),
        syncs: syncs.load(Ordering::Relaxed) as f64 / all,
        cpu: (cpu_seconds("self")? - cpu) / all,
    })
}

fn write(queue: &SyncSender<Request>, stop: &AtomicBool) {
    let me = Arc::new(Writer { done: AtomicU64::new(0), thread: thread::current() });
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        sent += 1;
        let mut record = vec![u8::try_from(sent % 251).unwrap_or_default(); RECORD];
        let digest = Sha256Digest::of(&record);
        record[..32].copy_from_slice(digest.as_bytes());
        if queue.send((me.clone(), record)).is_err() {
            return;
        }
        while me.done.load(Ordering::Acquire) < sent {
            thread::park();
        }
    }
}

fn commit(
    file: &File,
    mode: Mode,
    incoming: &Receiver<Request>,
    records: &AtomicU64,
    syncs: &AtomicU64,
) -> io::Result<()> {
    let (mut group, mut buffer, mut at) = (Vec::<Request>::with_capacity(GROUP), Vec::new(), 0);
    while let Ok(first) = incoming.recv() {
        group.push(first);
        group.extend(incoming.try_iter().take(GROUP - 1));
        buffer.clear();
        group.iter().for_each(|(_, record)| buffer.extend_from_slice(record));
        let length = buffer.len() as u64;
        if mode == Mode::Overwrite && at + length > SEGMENT {
            at = 0;
        }
        file.write_all_at(&buffer, at)?;
        file.sync_data()?;
        at += length;
        syncs.fetch_add(1, Ordering::Relaxed);
        records.fetch_add(group.len() as u64, Ordering::Relaxed);
        for (writer, _) in group.drain(..) {
            writer.done.fetch_add(1, Ordering::Release);
            writer.thread.unpark();
        }
    }
    Ok(())
}
