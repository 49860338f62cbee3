//! TLS to the service: whom it is taken for, and what it is shown.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{Config, ConfigError, Target, UpstreamTls};
use crate::tls::{Files, Fresh, Reloads, TlsFault, provider};

/// How connections to the service are encrypted.
pub(super) struct Encryption {
    config: Arc<Fresh<ClientConfig>>,
    name: ServerName<'static>,
    /// Nothing else may be spoken.
    only_http2: bool,
}

/// An encrypted connection.
#[derive(Debug)]
pub(super) struct Encrypted<I>(pub(super) TlsStream<I>);

// === impl Encryption ===

impl Encryption {
    /// Reads the files; none where the service is not behind TLS. Must be called inside a
    /// runtime, in which one task then looks for new ones.
    pub(super) fn new(
        config: &Config,
        target: &Target,
        reloads: &Reloads,
    ) -> Result<Option<Self>, ConfigError> {
        let (Target::Tls(authority), Some(tls)) = (target, &config.upstream_tls) else {
            return Ok(None);
        };
        let at_fault = |text: String| ConfigError::at(&tls.place, format!("[upstream_tls] {text}"));
        let host = tls
            .server_name
            .as_deref()
            .unwrap_or_else(|| host(authority));
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| at_fault(format!("{host:?} is no name of a server")))?;
        let (files, http2) = (tls.clone(), config.upstream_http2);
        let fresh = Fresh::read(reloads, move |read| load(&files, http2, read));
        let fresh = fresh.map_err(|fault| at_fault(fault.to_string()))?;
        tokio::spawn(Fresh::watch(Arc::downgrade(&fresh)));
        Ok(Some(Self {
            config: fresh,
            name,
            only_http2: http2 == Some(true),
        }))
    }

    /// Shakes hands with the service. Whether HTTP/2 is spoken from here on.
    pub(super) async fn connect<I>(&self, io: I) -> io::Result<(TlsStream<I>, bool)>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = TlsConnector::from(self.config.current());
        let stream = connector.connect(self.name.clone(), io).await?;
        let agreed = stream.get_ref().1.alpn_protocol();
        let is_http2 = agreed == Some(HTTP2);
        if self.only_http2 && !is_http2 {
            return Err(io::Error::other("the service does not speak HTTP/2"));
        }
        Ok((stream, is_http2))
    }
}

// === impl Encrypted ===

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

fn load(
    tls: &UpstreamTls,
    http2: Option<bool>,
    files: &mut Files,
) -> Result<ClientConfig, TlsFault> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.2 and 1.3")
        .with_root_certificates(files.authorities(&tls.ca)?);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = files.certificates(certificate)?;
            let config = builder.with_client_auth_cert(chain, files.key(key)?);
            config.map_err(|cause| TlsFault::new(key, cause))?
        }
    };
    let offered: &[&[u8]] = match http2 {
        None => &[HTTP2, HTTP1],
        Some(true) => &[HTTP2],
        Some(false) => &[HTTP1],
    };
    config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// `[::1]:9443` names `::1`.
fn host(authority: &str) -> &str {
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";
