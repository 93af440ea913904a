//! What operators see of replication and do about it.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use crate::accounts::error::AccountError;
use crate::events::event::OriginDistrusted;
use crate::events::stamp::Origin;

use super::api::Api;
use super::body;
use super::caller::Operator;
use super::error::ApiError;
use super::resource::resource;

/// Where operators look at replication.
pub fn region_routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/operator/regions").get(regions))
        .service(resource("/operator/regions/distrust").post(distrust))
        .service(resource("/operator/parked/retry").post(retry));
}

async fn regions(api: web::Data<Api>, _: Operator) -> Result<HttpResponse, ApiError> {
    let report = api.operations.regions().await.map_err(|error| {
        tracing::error!(error, "replication does not say how it is");
        ApiError::Internal
    })?;
    Ok(HttpResponse::Ok().json(report))
}

async fn retry(api: web::Data<Api>, _: Operator) -> Result<HttpResponse, ApiError> {
    let count = api.operations.retry_parked().await;
    let count = count.ok_or(AccountError::NotFound("replication was"))?;
    Ok(HttpResponse::Ok().json(json!({ "retried": count })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DistrustBody {
    /// The life.
    origin: String,
    /// The first event of it that does not count.
    from_sequence: u64,
    /// Whether the node's later lives are cut off with it.
    and_later: bool,
    /// The operator's signature, hexadecimal.
    signature: String,
}

/// Records that a life is cut off. When this is answered it is durable; the node then folds
/// everything anew, for which it starts again.
async fn distrust(
    api: web::Data<Api>,
    _: Operator,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body: DistrustBody = body::json(&request, payload).await?;
    let wrong = |field: &str, why: String| AccountError::field(field, "invalid", why);
    let origin: Origin =
        body.origin.parse().map_err(|error| wrong("origin", format!("{error}")))?;
    if !api.operations.knows(&origin) {
        let why = format!("this node has no event of {origin}");
        return Err(wrong("origin", why).into());
    }
    if body.from_sequence == 0 {
        return Err(wrong("from_sequence", "events count from 1".to_owned()).into());
    }
    let signature = hex::decode(&body.signature)
        .map_err(|_| wrong("signature", "it is not hexadecimal".to_owned()))?;
    let cut = OriginDistrusted {
        origin,
        from_sequence: body.from_sequence,
        and_later_lives: body.and_later,
        signature: signature.into(),
    };
    if !api.operations.is_operators(&cut) {
        let why = "it is not the deployment's operator's over this".to_owned();
        return Err(wrong("signature", why).into());
    }
    let outcome = api.accounts.distrust(cut).await?;
    tracing::warn!(%origin, from = body.from_sequence, "an operator cut a life off");
    let origin = origin.to_string();
    Ok(HttpResponse::Ok().json(json!({ "origin": origin, "outcome": format!("{outcome:?}") })))
}
