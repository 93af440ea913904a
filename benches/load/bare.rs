//! The limit of the web framework: a handler that reads JSON and answers JSON, and one that only
//! answers, in a process of their own like the node. And a plain service: one that checks passwords
//! with the `bcrypt` crate.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context as _;
use serde_json::{Value, json};

use crate::login;

/// A running bare server.
pub struct Bare {
    child: Child,
    /// Where it listens: `host:port`.
    pub address: String,
}

impl Bare {
    /// Starts this very program as a bare server.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_as(&["bare"])
    }

    /// The same with `POST /v1/login`.
    pub fn with_logins() -> anyhow::Result<Self> {
        Self::start_as(&["bare", "--logins"])
    }

    fn start_as(arguments: &[&str]) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("no output")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        Ok(Self { child, address: address.trim().to_owned() })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It holds nothing that could be lost.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until it is killed.
pub fn serve(logins: bool) -> anyhow::Result<()> {
    let hashes = if logins { login::hashes()? } else { Vec::new() };
    let hashes = web::Data::new(hashes);
    actix_web::rt::System::new().block_on(async move {
        let workers = std::thread::available_parallelism()?.get();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(hashes.clone())
                .route("/v1/login", web::post().to(check))
                .route("/v1/users/{id}", web::patch().to(take))
                .route("/v1/users/{id}", web::get().to(give))
                .route("/v1/users/lookup", web::post().to(take))
        });
        let server = server.workers(workers).bind("127.0.0.1:0")?;
        let address = *server.addrs().first().context("no address")?;
        let mut output = std::io::stdout();
        writeln!(output, "{address}")?;
        output.flush()?;
        Ok(server.run().await?)
    })
}

async fn take(body: web::Json<Value>) -> HttpResponse {
    let fields = body.as_object().map_or(0, serde_json::Map::len);
    HttpResponse::Ok().json(json!({ "revision": "0-00000000", "fields": fields }))
}

/// A login as a plain service does it: the hash is computed on a thread that may block.
async fn check(body: web::Json<Value>, hashes: web::Data<Vec<String>>) -> HttpResponse {
    match web::block(move || login::is_right(&hashes, &body)).await {
        Ok(true) => HttpResponse::Ok().json(json!({ "user_id": "none" })),
        Ok(false) => HttpResponse::Unauthorized().finish(),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

async fn give() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "user_id": "none", "status": "active", "profile": {} }))
}
