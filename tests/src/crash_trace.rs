//! What strace tells about the journal of a store: what was written, what a sync covers, and
//! where a failure was injected.

use std::collections::HashMap;
use std::path::Path;

/// What the path of every segment holds.
const JOURNAL: &str = "/journal/0";

/// Arguments of strace to trace what happens to the first two segments of the journal in
/// `data`, and nothing else, into `log`. The `when`th `call` on them fails with `error`, no
/// other does. strace counts for each thread, and several write the journal, one at a time.
pub fn failing_once(data: &Path, log: &Path, call: &str, error: &str, when: u64) -> Vec<String> {
    let [first, second] =
        [1, 2].map(|segment| data.join(format!("journal/{segment:012}.log")).display().to_string());
    let inject = format!("inject={call}:error={error}:when={when}");
    let out = log.display().to_string();
    let trace = "trace=pwrite64,fdatasync,fsync";
    // Paths of descriptors, and the first bytes of what is written as hex digits.
    let args = ["-y", "-x", "-s", "32", "-o", &out, "-P", &first, "-P", &second, "-e", trace, "-e", &inject];
    args.map(str::to_owned).to_vec()
}

/// A trace of the journal.
#[derive(Debug, Default)]
pub struct JournalTrace {
    /// The last record that was written.
    pub written: u64,
    /// The last record that a sync covers which succeeded.
    pub synced: u64,
    /// Syncs of groups that succeeded, by thread.
    syncs: HashMap<String, u64>,
    /// Those of the thread whose call was made to fail.
    pub syncs_before: u64,
    /// Every call that was made to fail, as strace wrote it.
    pub failed: Vec<String>,
    /// Every call that began after the first of those had ended.
    pub after: Vec<String>,
}

impl JournalTrace {
    /// Reads what strace wrote.
    ///
    /// # Panics
    /// A line is none of strace, or a write to the journal is none of a whole group.
    pub fn read(log: &str) -> Self {
        let mut trace = Self::default();
        let mut pending: HashMap<&str, &str> = HashMap::new();
        for line in log.lines() {
            let (thread, call) = line.split_once(' ').expect("a thread and a call");
            let call = call.trim_start();
            let resumed = call.split_once(" resumed>").map(|(_, end)| end);
            // Other lines tell of signals and exits, of calls that go on, and of calls, any calls,
            // whose thread died before strace could ask for their arguments.
            let begins = call.starts_with(|first: char| first.is_ascii_lowercase());
            if begins && call.contains(JOURNAL) && !trace.failed.is_empty() {
                trace.after.push(call.to_owned());
            }
            match (call.strip_suffix("<unfinished ...>"), resumed) {
                (Some(start), _) => drop(pending.insert(thread, start.trim_end())),
                (None, Some(end)) => {
                    let start = pending.remove(thread).unwrap_or_default();
                    trace.call(thread, &format!("{start}{end}"));
                }
                (None, None) => trace.call(thread, call),
            }
        }
        trace
    }

    /// Checks that one `call` on the journal failed with `error`, and that it was the last one.
    ///
    /// # Panics
    /// It is not so.
    pub fn assert_failed_once(&self, call: &str, error: &str) {
        let [failed] = &self.failed[..] else { panic!("{:?} were made to fail", self.failed) };
        let (name, rest) = failed.split_once('(').expect("a call");
        assert_eq!(name, call, "{failed}");
        assert!(rest.split_once(">)").is_some_and(|(file, _)| file.contains(JOURNAL)), "{failed}");
        assert!(rest.contains(&format!(" = -1 {error} ")), "{failed}");
        assert_eq!(self.after, Vec::<String>::new(), "after {failed}");
    }

    fn call(&mut self, thread: &str, call: &str) {
        let syncs = self.syncs.entry(thread.to_owned()).or_default();
        if call.ends_with("(INJECTED)") {
            self.failed.push(call.to_owned());
            self.syncs_before = *syncs;
        } else if let Some((_, bytes)) =
            call.split_once(".log>, \"").filter(|_| call.starts_with("pwrite64("))
        {
            self.group(bytes);
        } else if call.starts_with("fdatasync(") && call.ends_with(" = 0") {
            self.synced = self.written;
            *syncs += 1;
        }
    }

    /// The header of a group's first record: how many follow it, and its number.
    fn group(&mut self, text: &str) {
        let digits: String = text.split('"').next().unwrap_or_default().split("\\x").collect();
        let bytes = hex::decode(&digits).unwrap_or_else(|_| panic!("not only hex digits: {text}"));
        if bytes.iter().all(|byte| *byte == 0) {
            // Room made ahead.
            return;
        }
        let left = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
        let first = u64::from_le_bytes(bytes[24..32].try_into().unwrap());
        assert_eq!(first, self.written + 1, "a record is missing in the trace");
        self.written = first + u64::from(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A write of a group as strace shows it.
    fn group(thread: u32, first: u8, left: u8) -> String {
        let mut header = [1_u8; 32];
        header[12..16].copy_from_slice(&[left, 0, 0, 0]);
        header[24..32].copy_from_slice(&[first, 0, 0, 0, 0, 0, 0, 0]);
        let hex: String = header.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("{thread} pwrite64(6</d/journal/000000000001.log>, \"{hex}\"..., 720, 0) = 720\n")
    }

    #[test]
    fn a_sync_covers_what_was_written_before_it() {
        let sync = "7 fdatasync(6</d/journal/000000000001.log>";
        let zeros =
            format!("7 pwrite64(6</d/journal/000000000001.log>, \"{}\"..., 9, 9) = 9\n", "\\x00".repeat(32));
        let log = [
            group(7, 1, 0),
            zeros,
            format!("{sync}) = 0\n"),
            group(8, 2, 0),
            "8 fdatasync(6</d/journal/000000000001.log>) = 0\n".to_owned(),
            group(7, 3, 2),
            format!("{sync} <unfinished ...>\n"),
            "8 fsync(5</d/journal/000000000001.log>) = 0\n".to_owned(),
            "7 <... fdatasync resumed>) = -1 EIO (Input/output error) (INJECTED)\n".to_owned(),
            "7 --- SIGABRT {si_signo=SIGABRT} ---\n".to_owned(),
            "9 futex( <unfinished ...>\n8 ????( <unfinished ...>\n".to_owned(),
            "8 +++ killed by SIGABRT (core dumped) +++\n".to_owned(),
            "7 +++ killed by SIGABRT +++\n".to_owned(),
        ];
        let trace = JournalTrace::read(&log.concat());
        assert_eq!((trace.written, trace.synced, trace.syncs_before), (5, 2, 1));
        assert_eq!(trace.failed, [format!("{}) = -1 EIO (Input/output error) (INJECTED)", &sync[2..])]);
        assert_eq!(trace.after, Vec::<String>::new());
        let went_on = JournalTrace::read(&format!("{}{sync}) = 0\n", log.concat()));
        assert_eq!((went_on.synced, went_on.after.len()), (5, 1));
    }
}
