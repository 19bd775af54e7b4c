//! The smallest HTTPS client that can open a connection for each request: what it uses up is
//! missing to a server on the same machine.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;

/// What is taken from the socket at once.
const INBOX: usize = 64 * 1024;

/// How much the client wants to know about the server.
#[derive(Debug, Clone, Copy)]
pub enum Check<'a> {
    /// It shows a certificate of the authority whose PEM file this is.
    Authority(&'a Path),
    /// Nothing. A generator of load that looks at certificates has more to do than the server.
    Nothing,
}

/// Opens connections to one server.
#[derive(Debug, Clone)]
pub struct TlsClient {
    address: SocketAddr,
    config: Arc<ClientConfig>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, unpacked from chunks but not decompressed.
    pub body: Vec<u8>,
    /// Whether the connection took up an older session.
    pub resumed: bool,
}

impl TlsClient {
    /// A client of `https://localhost` at `address`. With `resumes` it takes up sessions; no client
    /// of Notary does, but some proxies do.
    ///
    /// # Errors
    /// The authority's certificate cannot be read.
    pub fn new(address: SocketAddr, check: Check<'_>, resumes: bool) -> io::Result<Self> {
        let provider = Arc::new(like_go());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
        let mut config = match check {
            Check::Authority(path) => {
                let mut roots = RootCertStore::empty();
                roots
                    .add(CertificateDer::from_pem_file(path).map_err(io::Error::other)?)
                    .map_err(io::Error::other)?;
                builder.with_root_certificates(roots).with_no_client_auth()
            }
            Check::Nothing => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
                .with_no_client_auth(),
        };
        if !resumes {
            config.resumption = Resumption::disabled();
        }
        Ok(Self { address, config: Arc::new(config) })
    }

    /// Connects; the handshake is done with the first request.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn connect(&self) -> io::Result<TlsConnection> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        Ok(TlsConnection { stream, tls, inbox: vec![0; INBOX], text: Vec::new() })
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// As [`TlsConnection::exchange`].
    pub async fn once(&self, request: &[u8]) -> io::Result<Answer> {
        let mut connection = self.connect().await?;
        let answer = connection.exchange(request).await?;
        connection.tls.send_close_notify();
        // The answer is there: nobody cares whether the farewell arrives.
        let _unsent = connection.flush().await;
        Ok(answer)
    }
}

/// A connection that is kept until it is dropped.
#[derive(Debug)]
pub struct TlsConnection {
    stream: TcpStream,
    tls: ClientConnection,
    inbox: Vec<u8>,
    text: Vec<u8>,
}

impl TlsConnection {
    /// Sends a whole request and waits for the whole answer.
    ///
    /// # Errors
    /// The connection broke, the handshake failed, or the answer is no HTTP.
    pub async fn exchange(&mut self, mut request: &[u8]) -> io::Result<Answer> {
        self.text.clear();
        loop {
            // TLS takes over as much as its buffer holds, before the handshake is done too.
            let taken = if request.is_empty() { 0 } else { self.tls.writer().write(request)? };
            request = request.get(taken..).unwrap_or_default();
            self.flush().await?;
            if taken > 0 && !request.is_empty() {
                continue;
            }
            self.receive().await?;
            if let Some((status, body)) = parse(&self.text)? {
                let resumed = self.tls.handshake_kind() == Some(HandshakeKind::Resumed);
                return Ok(Answer { status, body, resumed });
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Socket(&self.stream)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for bytes and takes in all that came.
    async fn receive(&mut self) -> io::Result<()> {
        let came = loop {
            self.stream.readable().await?;
            match self.stream.try_read(&mut self.inbox) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(came) => break came,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        };
        let mut rest = self.inbox.get(..came).unwrap_or_default();
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest)?;
            let state = self.tls.process_new_packets().map_err(io::Error::other)?;
            let begin = self.text.len();
            self.text.resize(begin + state.plaintext_bytes_to_read(), 0);
            self.tls.reader().read_exact(self.text.get_mut(begin..).unwrap_or_default())?;
        }
        Ok(())
    }
}

/// What Go's clients up to version 1.23 offer, in their order.
fn like_go() -> CryptoProvider {
    use aws_lc_rs::cipher_suite::*;
    CryptoProvider {
        cipher_suites: vec![
            TLS13_AES_128_GCM_SHA256,
            TLS13_AES_256_GCM_SHA384,
            TLS13_CHACHA20_POLY1305_SHA256,
            TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        ],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    }
}

/// A socket that says when it would have to wait.
struct Socket<'a>(&'a TcpStream);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Status and body; `None` while something is missing.
fn parse(text: &[u8]) -> io::Result<Option<(u16, Vec<u8>)>> {
    let malformed = || io::Error::other("the answer has no status or no length");
    let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let (head, body) = (text.get(..end).unwrap_or_default(), text.get(end + 4..).unwrap_or_default());
    let head = std::str::from_utf8(head).map_err(|_| malformed())?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(malformed)?;
    let field = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    if field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return Ok(unpack(body)?.map(|body| (status, body)));
    }
    let length: usize =
        field("content-length").and_then(|length| length.parse().ok()).ok_or_else(malformed)?;
    Ok(body.get(..length).map(|body| (status, body.to_vec())))
}

/// A body of chunks; `None` while something is missing.
fn unpack(mut rest: &[u8]) -> io::Result<Option<Vec<u8>>> {
    // Only a body that came whole ends like this: cheaper than to unpack each time some of it comes.
    if !rest.ends_with(b"0\r\n\r\n") {
        return Ok(None);
    }
    let mut body = Vec::with_capacity(rest.len());
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(rest.get(..end).unwrap_or_default()).ok();
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or_else(|| io::Error::other("a chunk has no size"))?;
        let Some(chunk) = rest.get(end + 2..end + 2 + size) else { return Ok(None) };
        if size == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(chunk);
        rest = rest.get(end + 2 + size + 2..).unwrap_or_default();
    }
}

/// Takes any certificate for good.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, unpack};

    #[test]
    fn an_answer_is_whole_or_nothing() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]).expect("HTTP"), None, "{end}");
        }
        assert_eq!(parse(whole).expect("HTTP"), Some((200, b"abc".to_vec())));
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn chunks_are_put_together() {
        let whole = b"3\r\nabc\r\nA\r\n0\r\n\r\nxyz__\r\n0\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(unpack(&whole[..end]).expect("chunks"), None, "{end}");
        }
        assert_eq!(unpack(whole).expect("chunks"), Some(b"abc0\r\n\r\nxyz__".to_vec()));
        assert!(unpack(b"x\r\nabc\r\n0\r\n\r\n").is_err());
    }
}
