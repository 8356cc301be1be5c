//! A TLS server in place of AWS. It answers so little that a function soon ends, and tells when each request has arrived completely.

use std::fs;
use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::http::{Request, answer};

/// Where systems keep the certificates that they trust: Debian and Ubuntu, Amazon Linux and Fedora, Alpine and macOS.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem"];

/// The server, and what a client needs to trust it.
pub(crate) struct StandIn {
    /// `https://localhost:{port}`
    pub(crate) url: String,
    /// The system's whole bundle and our own authority: what a function reads is as long as it is on Lambda.
    pub(crate) trusted: PathBuf,
    pub(crate) arrivals: Receiver<Instant>,
}

impl StandIn {
    /// Makes its certificates with the command `openssl`, in `folder`.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        make_certificates(folder)?;
        let system = BUNDLES.iter().find(|path| Path::new(path).exists()).context("this system has no bundle of certificates")?;
        let mut bundle = fs::read(system)?;
        bundle.extend(fs::read(folder.join("authority.pem"))?);
        let trusted = folder.join("trusted.pem");
        fs::write(&trusted, bundle)?;
        let chain = vec![CertificateDer::from_pem_file(folder.join("server.pem"))?];
        let key = PrivateKeyDer::from_pem_file(folder.join("server.key"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        let (sender, arrivals) = channel();
        let config = Arc::new(config);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, sender) = (Arc::clone(&config), sender.clone());
                // A connection that ends in any way is none of our business.
                thread::spawn(move || drop(serve(stream, config, &sender)));
            }
        });
        Ok(Self { url, trusted, arrivals })
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, arrivals: &Sender<Instant>) -> Result<()> {
    stream.set_nodelay(true)?;
    let connection = ServerConnection::new(config)?;
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    while let Some(request) = Request::read(&mut reader)? {
        arrivals.send(Instant::now())?;
        let to = reader.get_mut();
        // DynamoDB, SQS and Secrets Manager name their operation in a header. S3 does not: there is no such object.
        match request.header("x-amz-target").and_then(|target| target.split('.').next_back()) {
            Some("GetSecretValue") => {
                json(to, "200 OK", br#"{"ARN":"arn","Name":"providers","SecretString":"{}","VersionId":"1"}"#)?;
            }
            Some("SendMessage") => json(to, "200 OK", br#"{"MessageId":"1"}"#)?,
            Some(_) => json(to, "200 OK", b"{}")?,
            None => answer(to, "404 Not Found", &[("content-type", "application/xml")], b"")?,
        }
    }
    Ok(())
}

fn json(to: &mut StreamOwned<ServerConnection, TcpStream>, status: &str, body: &[u8]) -> Result<()> {
    answer(to, status, &[("content-type", "application/x-amz-json-1.0")], body)?;
    Ok(to.flush()?)
}

/// An authority and a certificate of `localhost`, for two days.
fn make_certificates(folder: &Path) -> Result<()> {
    fs::write(folder.join("server.ext"), "subjectAltName = DNS:localhost\nbasicConstraints = CA:FALSE\n")?;
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder, &format!("req -x509 {key} -keyout authority.key -out authority.pem -days 2 -subj /CN=cold-start"))?;
    openssl(folder, &format!("req -new {key} -keyout server.key -out server.csr -subj /CN=localhost"))?;
    let sign = "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -extfile server.ext";
    openssl(folder, &format!("{sign} -days 2 -out server.pem"))
}

fn openssl(folder: &Path, arguments: &str) -> Result<()> {
    let made = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let made = made.context("the command `openssl` cannot be run; install OpenSSL")?;
    ensure!(made.status.success(), "`openssl {arguments}` failed: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}
