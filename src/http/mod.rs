//! The HTTP face: requests in, use cases called, answers out. One file a resource.
//!
//! | file | holds |
//! |---|---|
//! | `api` | what all handlers share |
//! | `body` | bodies read strictly |
//! | `caller` | who calls: the API key |
//! | `error` | the one map from errors to status and code |
//! | `frame` | what is around every call: request id, problem bodies, counting |
//! | `users` `login` `identities` `history` `hash_profiles` `whoami` | what companies call |
//! | `health` `openapi` | what needs no company |
//! | `operator` | the second listener |
//!
//! Nothing is decided here. This room must never know actors' messages, files or keys.

pub mod api;
pub mod body;
pub mod caller;
pub mod error;
pub mod frame;
pub mod hash_profiles;
pub mod health;
pub mod history;
pub mod identities;
pub mod login;
pub mod openapi;
pub mod operator;
pub mod users;
pub mod whoami;

use actix_web::{HttpResponse, Resource, web};

use self::error::ApiError;

/// The resources that companies call, and those that need no company.
pub fn company_routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/v1/whoami").route(web::get().to(whoami::whoami)))
        .service(resource("/v1/users").route(web::post().to(users::register)))
        .service(resource("/v1/users/lookup").route(web::post().to(users::lookup)))
        .service(resource("/v1/login").route(web::post().to(login::login)))
        .service(
            resource("/v1/users/{id}")
                .route(web::get().to(users::get))
                .route(web::head().to(users::get))
                .route(web::patch().to(users::patch)),
        )
        .service(resource("/v1/users/{id}/password").route(web::put().to(users::password)))
        .service(
            resource("/v1/users/{id}/legacy-hashes/{country}")
                .route(web::put().to(users::legacy_hash)),
        )
        .service(
            resource("/v1/users/{id}/identities/{kind}")
                .route(web::put().to(identities::claim))
                .route(web::delete().to(identities::release)),
        )
        .service(
            resource("/v1/users/{id}/identities/{kind}/{value}")
                .route(web::put().to(identities::claim))
                .route(web::delete().to(identities::release)),
        )
        .service(resource("/v1/users/{id}/status").route(web::put().to(users::status)))
        .service(resource("/v1/users/{id}/history").route(web::get().to(history::history)))
        .service(
            resource("/v1/hash-profiles/{country}/{name}")
                .route(web::put().to(hash_profiles::put))
                .route(web::get().to(hash_profiles::get)),
        )
        .service(resource("/health/live").route(web::get().to(health::live)))
        .service(resource("/health/ready").route(web::get().to(health::ready)))
        .service(resource("/metrics").route(web::get().to(health::metrics)))
        .service(resource("/openapi.json").route(web::get().to(openapi::openapi)))
        .default_service(web::to(not_found));
}

/// A resource that answers 405 to methods it does not have.
fn resource(path: &str) -> Resource {
    web::resource(path).default_service(web::to(method_not_allowed))
}

async fn not_found() -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotFound)
}

async fn method_not_allowed() -> Result<HttpResponse, ApiError> {
    Err(ApiError::MethodNotAllowed)
}
