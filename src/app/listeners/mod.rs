//! The two ways in: opened first, so that a port in use or a certificate that cannot be served is
//! known before anything else is done.
//!
//! | file | holds |
//! |---|---|
//! | `crowd` | how many connections there are, in all and from one address |
//! | `door` | a connection let in or turned away; TLS |
//! | `timed` | how long a connection may take over what |

mod crowd;
mod door;
mod timed;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive, Protocol};
use actix_server::{Server, ServerHandle};
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App, Error, web};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::clock::SystemClock;
use crate::config::Config;
use crate::config::http::HttpConfig;
use crate::http::api::Api;
use crate::http::body::BodyLimits;
use crate::http::flow::Flow;
use crate::http::operator::operator_routes;
use crate::http::{company_routes, frame};
use crate::tls::{PairFiles, Tls};

use self::crowd::Crowd;
use self::door::{Connection, Door};
use self::timed::TimeLimits;
use super::AppError;
use super::parts::cores;

/// Connections a worker takes beyond those that may be, to tell them that they are too many.
const FAREWELLS: usize = 256;

/// Open files beside companies' connections: logs, state, the operators' connections.
const OTHER_FILES: usize = 512;

/// How long a caller whose body was not read to the end is given to read its answer.
const LINGER: Duration = Duration::from_secs(1);

/// The listeners of a node, opened before it starts so that a port in use is known at once.
pub struct Listeners {
    /// For companies.
    pub company: TcpListener,
    /// For operators.
    pub operator: TcpListener,
    /// What companies are served with over TLS.
    pub tls: Option<Arc<Tls>>,
}

impl Listeners {
    /// Opens both.
    pub fn bind(config: &Config) -> Result<Self, AppError> {
        let bind = |address, setting| {
            TcpListener::bind(address).map_err(|source| AppError::Listen {
                address,
                setting,
                source,
            })
        };
        let tls = certificate(&config.http)?;
        raise_descriptors(config.http.max_connections);
        Ok(Self {
            company: bind(config.http.listen, "listen")?,
            operator: bind(config.http.operator_listen, "operator_listen")?,
            tls,
        })
    }
}

/// Lets the process have as many files and connections open as the system allows it.
fn raise_descriptors(connections: usize) {
    let had = getrlimit(Resource::Nofile);
    let most = Rlimit { current: had.maximum, ..had };
    // What cannot be raised stays, and is judged below.
    let has = setrlimit(Resource::Nofile, most).map_or(had, |()| most).current;
    let wanted = connections.saturating_add(OTHER_FILES);
    if let Some(has) = has.filter(|has| *has < u64::try_from(wanted).unwrap_or(u64::MAX)) {
        tracing::warn!(
            "{wanted} open files are needed for http.max_connections, {has} are allowed"
        );
    }
}

/// The certificate that the settings name, if they do.
pub fn certificate(http: &HttpConfig) -> Result<Option<Arc<Tls>>, AppError> {
    if !http.tls.is_on() {
        return Ok(None);
    }
    let files =
        PairFiles { certificate: http.tls.cert_file.clone(), key: http.tls.key_file.clone() };
    Ok(Some(Arc::new(Tls::open(files, Arc::new(SystemClock::new()))?)))
}

pub(super) fn addresses(listeners: &Listeners) -> Result<(SocketAddr, SocketAddr), AppError> {
    let of = |listener: &TcpListener| {
        listener.local_addr().map_err(AppError::system("read a listener's address"))
    };
    Ok((of(&listeners.company)?, of(&listeners.operator)?))
}

/// Which routes a listener serves.
type Routes = fn(&mut web::ServiceConfig);

pub(super) fn serve(
    config: &Config,
    api: &web::Data<Api>,
    listeners: Listeners,
) -> Result<Vec<ServerHandle>, AppError> {
    count_from_zero();
    let http = &config.http;
    let tls = listeners.tls.as_ref().map(Tls::server_config).transpose()?;
    let tls = tls.map(TlsAcceptor::from);
    let company = (listeners.company, cores(http.workers), tls, company_routes as Routes);
    let operator = (listeners.operator, 1, None, operator_routes as Routes);
    let mut handles = Vec::new();
    for (listener, workers, tls, routes) in [company, operator] {
        let server = start(http, api, (listener, workers), tls, routes)
            .map_err(AppError::system("serve a listener"))?;
        handles.push(server.handle());
        actix::spawn(async move {
            drop(server.await);
        });
    }
    Ok(handles)
}

fn start(
    http: &HttpConfig,
    api: &web::Data<Api>,
    (listener, workers): (TcpListener, usize),
    tls: Option<TlsAcceptor>,
    routes: Routes,
) -> std::io::Result<Server> {
    let (api, http, address) = (api.clone(), http.clone(), listener.local_addr()?);
    let of_one = Some(http.max_connections_per_address).filter(|max| *max > 0);
    let crowd = Crowd::new(http.max_connections, of_one.filter(|_| !http.behind_proxy));
    let builder = Server::build()
        .workers(workers)
        .max_concurrent_connections(http.max_connections + FAREWELLS)
        .shutdown_timeout(http.shutdown_s)
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let server = builder.listen(format!("jcas-{address}"), listener, move || {
        let app = App::new()
            .app_data(api.clone())
            .app_data(body_limits(&http))
            .wrap(actix_web::middleware::from_fn(frame::frame))
            .configure(routes);
        let app = app.into_factory().map_err(|error: Error| error.error_response());
        let stopping = stopping.clone();
        let calls = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(KeepAlive::Timeout(Duration::from_secs(http.keep_alive_s)))
            .client_request_timeout(Duration::from_secs(http.client_request_s))
            .client_disconnect_timeout(LINGER)
            .on_connect_ext(|connection: &Connection, data| {
                data.insert::<Flow>(connection.flow().clone());
            })
            .finish(map_config(app, |()| AppConfig::default()));
        let door = Door::new(
            Arc::clone(&crowd),
            time_limits(&http),
            tls.clone().map(|tls| (tls, Duration::from_secs(http.tls.handshake_s))),
        );
        fn_service(move |stream: TcpStream| {
            let door = door.clone();
            async move {
                let (connection, peer) = door.enter(stream).await?;
                Ok((connection, Protocol::Http1, peer))
            }
        })
        .and_then(calls)
    })?;
    Ok(server.run())
}

const fn body_limits(http: &HttpConfig) -> BodyLimits {
    BodyLimits {
        max: http.body_limit_kib * 1024,
        grace: Duration::from_secs(http.client_body_s),
        rate: http.client_body_rate,
    }
}

const fn time_limits(http: &HttpConfig) -> TimeLimits {
    TimeLimits {
        head: Duration::from_secs(http.client_request_s),
        idle: Duration::from_secs(http.keep_alive_s),
        stall: Duration::from_secs(http.answer_stall_s),
    }
}

/// Makes the counters of connections, so that they are there before they count anything.
fn count_from_zero() {
    for reason in ["slow_head", "idle", "unread_answer"] {
        metrics::counter!("jcas_connections_cut_total", "reason" => reason).absolute(0);
    }
    for reason in ["full", "address", "slow_handshake", "handshake", "plain_http"] {
        metrics::counter!("jcas_connections_refused_total", "reason" => reason).absolute(0);
    }
}
