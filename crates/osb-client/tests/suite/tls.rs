//! HTTPS with an authority of one's own.

use std::sync::Arc;

use osb_client::{Client, Error, Options, Trust};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::broker::*;

/// Serves the broker over TLS; the URL, and the certificate to trust.
async fn serve_tls() -> (String, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = builder
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let front = front();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, front) = (acceptor.clone(), front.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    connection(stream, front).await;
                }
            });
        }
    });
    (url, made.cert.pem().into_bytes())
}

/// OSB-AUTH-05.
#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_and_no_other() {
    let (url, authority) = serve_tls().await;
    let trusting = |authority: Vec<u8>| {
        Client::new(&Options {
            trust: Trust::Authorities(authority),
            ..options(url.clone())
        })
    };
    assert_eq!(trusting(authority).unwrap().catalog().await.unwrap().services.len(), 1);
    let (_, other) = serve_tls().await;
    assert!(matches!(
        trusting(other).unwrap().catalog().await,
        Err(Error::Transport(_))
    ));
    assert!(matches!(trusting(b"nothing".to_vec()), Err(Error::Trust(_))));
}
