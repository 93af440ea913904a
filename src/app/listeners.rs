//! The two ways in: opened first, so that a port in use is known before anything else is done.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};

use crate::config::Config;
use crate::http::api::Api;
use crate::http::body::BodyLimit;
use crate::http::operator::operator_routes;
use crate::http::{company_routes, frame};

use super::AppError;
use super::parts::cores;

/// The listeners of a node, opened before it starts so that a port in use is known at once.
pub struct Listeners {
    /// For companies.
    pub company: TcpListener,
    /// For operators.
    pub operator: TcpListener,
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
        Ok(Self {
            company: bind(config.http.listen, "listen")?,
            operator: bind(config.http.operator_listen, "operator_listen")?,
        })
    }
}

pub(super) fn addresses(listeners: &Listeners) -> Result<(SocketAddr, SocketAddr), AppError> {
    let of = |listener: &TcpListener| {
        listener.local_addr().map_err(AppError::system("read a listener's address"))
    };
    Ok((of(&listeners.company)?, of(&listeners.operator)?))
}

pub(super) fn serve(
    config: &Config,
    api: web::Data<Api>,
    listeners: Listeners,
) -> Result<Vec<ServerHandle>, AppError> {
    let http = &config.http;
    let limit = BodyLimit(http.body_limit_kib * 1024);
    let workers = cores(http.workers);
    let operator_api = api.clone();
    let company = HttpServer::new(move || {
        App::new()
            .app_data(api.clone())
            .app_data(limit)
            .wrap(actix_web::middleware::from_fn(frame::frame))
            .configure(company_routes)
    })
    .workers(workers)
    .max_connections(http.max_connections.div_ceil(workers))
    .client_request_timeout(Duration::from_secs(http.client_request_s))
    .keep_alive(Duration::from_secs(http.keep_alive_s))
    .shutdown_timeout(http.shutdown_s)
    .disable_signals()
    .listen(listeners.company)
    .map_err(AppError::system("serve companies"))?
    .run();
    let operator = HttpServer::new(move || {
        App::new()
            .app_data(operator_api.clone())
            .app_data(limit)
            .wrap(actix_web::middleware::from_fn(frame::frame))
            .configure(operator_routes)
    })
    .workers(1)
    .shutdown_timeout(http.shutdown_s)
    .disable_signals()
    .listen(listeners.operator)
    .map_err(AppError::system("serve operators"))?
    .run();
    let handles = vec![company.handle(), operator.handle()];
    actix::spawn(async move {
        drop(company.await);
    });
    actix::spawn(async move {
        drop(operator.await);
    });
    Ok(handles)
}
