//! The contract as a page to read and try, at `/docs`: Swagger UI, built in (feature `docs-page`).
//!
//! The page takes everything from this node and calls this node only; a browser is told to load
//! nothing from elsewhere.

use std::sync::Arc;

use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpResponse, web};
use utoipa_swagger_ui::Config;

use super::error::ApiError;
use super::resource::resource;

/// Where the page is.
const PAGE: &str = "/docs/";

/// What the page may load, and from where. Swagger UI writes style into its elements.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// Adds the page.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let shown = Config::new(["/openapi.json"]).validator_url("none");
    config
        .app_data(web::Data::new(shown))
        .service(resource("/docs").get(to_page))
        .service(resource("/docs/{file:.*}").get(file));
}

/// Whether a path is the page's: its files are of many kinds, and a browser says what it takes.
pub(super) fn has(path: &str) -> bool {
    path == "/docs" || path.starts_with(PAGE)
}

async fn to_page() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, PAGE)).finish()
}

async fn file(
    name: web::Path<String>,
    shown: web::Data<Config<'static>>,
) -> Result<HttpResponse, ApiError> {
    let found = utoipa_swagger_ui::serve(&name, Arc::clone(&shown));
    let file = found.map_err(|_| ApiError::Internal)?.ok_or(ApiError::NotFound)?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, file.content_type))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((HeaderName::from_static("referrer-policy"), "no-referrer"))
        .body(file.bytes.into_owned()))
}
