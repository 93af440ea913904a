//! The keys that answers are signed with, for everybody.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::api::Api;

/// How long the keys may be kept, in seconds. The next key is among them long before it signs.
const KEEP_S: u32 = 3600;

/// `GET /.well-known/jwks.json`
pub async fn jwks(api: web::Data<Api>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, format!("public, max-age={KEEP_S}")))
        .json(json!({ "keys": api.answer_keys.published() }))
}
