//! The HTTP face: requests in, use cases called, answers out. One file a resource.
//!
//! | file | holds |
//! |---|---|
//! | `accept` | whether a caller takes what is answered |
//! | `answer` `jwks` | answers signed by the region, and the keys for them |
//! | `api` | what all handlers share |
//! | `body` | bodies read strictly |
//! | `call` | a company's call, from its headers to what is asked and by whom |
//! | `caller` | who calls: the API key, the operator's token |
//! | `content` `idempotency` | calls that are carried out once |
//! | `docs_page` | the contract as a page, where that is built in |
//! | `error` | the one map from errors to status and code |
//! | `frame` `route` | what is around every call: request id, problem bodies, counting |
//! | `flow` | what a connection is doing, for its time limits |
//! | `limits` | how often a company may call |
//! | `replicate` | how many nodes a write waits for |
//! | `resource` | a resource and its methods |
//! | `signed` | what a call's token must say |
//! | `sync` `stream` | bulk sync: a stream of rows, jobs, verdicts |
//! | `trace` | which trace of the caller's a call belongs to |
//! | `users` `login` `identities` `history` `hash_profiles` `whoami` | what companies call |
//! | `changes` | what changed since a company asked last |
//! | `links` | users who are one person |
//! | `erasure` | a person is forgotten, or told all that is held |
//! | `health` `openapi` | what needs no company |
//! | `operator` | the second listener |
//! | `keys` | branch keys and the KMS, for operators |
//!
//! Nothing is decided here. This room must never know actors' messages, files or keys.

pub mod accept;
mod answer;
pub mod api;
pub mod body;
pub mod call;
pub mod caller;
pub mod changes;
pub mod content;
#[cfg(feature = "docs-page")]
mod docs_page;
pub mod erasure;
pub mod error;
pub mod flow;
pub mod frame;
pub mod hash_profiles;
pub mod health;
pub mod history;
pub mod idempotency;
pub mod identities;
pub mod jwks;
pub mod keys;
mod limits;
mod links;
pub mod login;
pub mod openapi;
pub mod operator;
pub mod regions;
pub mod replicate;
mod report;
pub mod resource;
mod route;
pub mod signed;
mod stream;
pub mod sync;
mod trace;
pub mod uploads;
pub mod users;
pub mod whoami;

use actix_web::{HttpResponse, web};

use crate::accounts::error::AccountError;

use self::error::ApiError;
use self::resource::resource;
use self::route::Route;

/// The resources that companies call, and those that need no company.
pub fn company_routes(config: &mut web::ServiceConfig) {
    config
        .app_data(query())
        .app_data(Route::new("unknown"))
        .service(resource("/v1/whoami").get(whoami::whoami))
        .service(resource("/v1/users").post(users::register))
        .service(resource("/v1/users/lookup").post(users::lookup))
        .service(resource("/v1/login").post(login::login))
        .service(
            resource("/v1/users/{id}").get(users::get).patch(users::patch).delete(erasure::erase),
        )
        .service(resource("/v1/users/{id}/erasure").get(erasure::receipt))
        .service(resource("/v1/users/{id}/export").get(erasure::export))
        .service(resource("/v1/users/{id}/password").put(users::password))
        .service(resource("/v1/users/{id}/legacy-hashes/{country}").put(users::legacy_hash))
        .service(
            resource("/v1/users/{id}/identities/{kind}")
                .put(identities::claim)
                .delete(identities::release),
        )
        .service(
            resource("/v1/users/{id}/identities/{kind}/{value}")
                .put(identities::claim)
                .delete(identities::release),
        )
        .service(resource("/v1/users/{id}/status").put(users::status))
        .service(resource("/v1/users/{id}/history").get(history::history))
        .service(resource("/v1/users/{id}/link").post(links::link))
        .service(resource("/v1/users/{id}/unlink").post(links::unlink))
        .service(resource("/v1/link-candidates").get(links::candidates))
        .service(resource("/v1/link-candidates/{id}/{with}").delete(links::decline))
        .service(resource("/v1/changes").get(changes::changes))
        .service(resource("/v1/hash-profiles/probe").post(hash_profiles::probe))
        .service(
            resource("/v1/hash-profiles/{country}/{name}")
                .put(hash_profiles::put)
                .get(hash_profiles::get),
        )
        .service(resource("/v1/sync").post(sync::post).get(sync::list))
        .service(resource("/v1/sync/uploads").post(uploads::begin))
        .service(resource("/v1/sync/uploads/{upload}").get(uploads::get))
        .service(resource("/v1/sync/uploads/{upload}/{offset}").put(uploads::put))
        .service(resource("/v1/sync/{job}").get(sync::get).delete(sync::cancel))
        .service(resource("/v1/sync/{job}/rows").get(sync::rows))
        .service(resource("/health/live").get(health::live))
        .service(resource("/health/ready").get(health::ready))
        .service(resource("/metrics").get(health::metrics))
        .service(resource("/.well-known/jwks.json").get(jwks::jwks))
        .service(resource("/openapi.json").get(openapi::openapi))
        .default_service(web::to(not_found));
    #[cfg(feature = "docs-page")]
    docs_page::routes(config);
}

/// What a query that is not as documented is refused with. It never repeats what was sent.
fn query() -> web::QueryConfig {
    web::QueryConfig::default().error_handler(|_, _| {
        let detail = "a parameter is unknown, there twice or not what is documented";
        ApiError::from(AccountError::field("query", "invalid", detail)).into()
    })
}

async fn not_found() -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotFound)
}
