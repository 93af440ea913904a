//! The contract for programs, as OpenAPI 3.1.
//!
//! The document is written by hand and embedded: it is the contract, not a by-product of the code.
//! A test compares its paths and codes with the routes and the error map.

use actix_web::HttpResponse;

/// The document.
pub const OPENAPI: &str = include_str!("openapi.json");

/// `GET /openapi.json`
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(OPENAPI)
}
