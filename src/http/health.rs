//! Is it alive, is it ready, what does it count?

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::api::Api;
use super::error::ApiError;

/// `GET /health/live`: the program answers.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

/// `GET /health/ready`: each dependency and its state. 503 only when nothing can be answered;
/// where reads go on and something is missing it is `degraded` and 200.
pub async fn ready(api: web::Data<Api>) -> HttpResponse {
    let report = api.health.report().await;
    if report.status == "not_ready" {
        HttpResponse::ServiceUnavailable().json(report)
    } else {
        HttpResponse::Ok().json(report)
    }
}

/// `GET /metrics`, for Prometheus.
pub async fn metrics(api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    let render = api.metrics.as_ref().ok_or(ApiError::NotFound)?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(render()))
}
