//! The smallest HTTP/1.1 client that keeps a connection: what it uses up is missing to the
//! server, which runs on the same cores.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

/// A connection that is kept open.
pub struct Connection {
    stream: TcpStream,
    inbox: Vec<u8>,
}

/// An answer.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Status line and headers.
    pub head: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        header(std::str::from_utf8(&self.head).ok()?, name).map(str::to_owned)
    }
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, inbox: Vec::new() })
    }

    /// Sends a whole request and waits for the whole answer, which must announce its length.
    pub async fn exchange(&mut self, mut request: &[u8]) -> io::Result<Answer> {
        while !request.is_empty() {
            match self.stream.try_write(request) {
                Ok(sent) => request = request.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
        let mut filled = 0;
        loop {
            if filled == self.inbox.len() {
                self.inbox.resize(filled + 16 * 1024, 0);
            }
            self.stream.readable().await?;
            match self.stream.try_read(&mut self.inbox[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            if let Some(answer) = parse(&self.inbox[..filled])? {
                return Ok(answer);
            }
        }
    }
}

/// `None` while something is missing.
fn parse(inbox: &[u8]) -> io::Result<Option<Answer>> {
    let Some(end) = inbox.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let malformed = || io::Error::other("the answer has no status or no length");
    let head = std::str::from_utf8(&inbox[..end]).map_err(|_| malformed())?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(malformed)?;
    // A 304 has no body, whatever length it tells.
    let length = match status {
        204 | 304 => 0,
        _ => header(head, "content-length").and_then(|length| length.parse().ok()).ok_or_else(malformed)?,
    };
    let body = &inbox[end + 4..];
    let answer = || Answer { status, head: head.as_bytes().to_vec(), body: body[..length].to_vec() };
    Ok((body.len() >= length).then(answer))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
