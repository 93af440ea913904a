//! Carries the SDK's calls over the HTTP client that the command line uses too.
//!
//! A call runs on a thread of the blocking pool. The deadline is the HTTP client's own, so that a
//! thread is never held longer, whoever still waits for it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kms::config::RuntimeComponents;
use aws_sdk_kms::config::http::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::AwsSetUpError;

/// An answer of a KMS is shorter.
const ANSWER_BYTES_MAX: u64 = 256 << 10;

/// The way to a KMS.
#[derive(Clone)]
pub(super) struct Carrier {
    agent: ureq::Agent,
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carrier")
    }
}

impl Carrier {
    /// A way that trusts the certificates of a file, or where there is none the well-known ones.
    pub(super) fn new(ca_file: Option<&Path>, timeout: Duration) -> Result<Self, AwsSetUpError> {
        let roots = ca_file.map_or(Ok(RootCerts::WebPki), trusted)?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(timeout))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Ok(Self { agent: config.into() })
    }

    fn carry(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let body = request.body().bytes().map(<[u8]>::to_vec).unwrap_or_default();
        let request = request.try_into_http1x();
        let request = request.map_err(|error| ConnectorError::user(error.into()))?;
        // A GET must not have a body, not even an empty one.
        let answered = if body.is_empty() {
            self.agent.run(request.map(|_| ()))
        } else {
            self.agent.run(request.map(|_| body))
        };
        let mut response = answered.map_err(ended)?;
        let status = response.status().as_u16();
        let status = status.try_into();
        let status = status.map_err(|_| ConnectorError::io("an impossible status".into()))?;
        let limited = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let body = limited.read_to_vec().map_err(ended)?;
        let mut answer = HttpResponse::new(status, SdkBody::from(body));
        for (name, value) in response.headers() {
            if let Ok(value) = value.to_str() {
                answer.headers_mut().append(name.as_str().to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }
}

impl HttpConnector for Carrier {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let way = self.clone();
        HttpConnectorFuture::new(async move {
            let answered = tokio::task::spawn_blocking(move || way.carry(request)).await;
            answered.unwrap_or_else(|error| Err(ConnectorError::io(error.into())))
        })
    }
}

impl HttpClient for Carrier {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

fn ended(error: ureq::Error) -> ConnectorError {
    match error {
        ureq::Error::Timeout(_) => ConnectorError::timeout(error.into()),
        error => ConnectorError::io(error.into()),
    }
}

fn trusted(path: &Path) -> Result<RootCerts, AwsSetUpError> {
    let unusable = |reason: String| AwsSetUpError::Certificates { path: path.to_owned(), reason };
    let text = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let found = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    Ok(RootCerts::Specific(Arc::new(found)))
}
