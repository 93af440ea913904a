//! Who am I? The first call of an integration.

use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use serde_json::json;

use crate::accounts::view::rfc3339;
use crate::events::policy::Scope;

use super::api::Api;
use super::call::Company;
use super::error::ApiError;
use super::signed::Verified;

/// `GET /v1/whoami`
pub async fn whoami(
    api: web::Data<Api>,
    company: Company,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let caller = company.0;
    let now = api.accounts.clock().unix_ms();
    let scopes: Vec<_> = caller.scopes.iter().map(Scope::as_str).collect();
    Ok(HttpResponse::Ok().json(json!({
        "company": caller.company,
        "countries": caller.countries,
        "scopes": scopes,
        "policies": caller.policies,
        "region": api.region,
        "deployment": api.deployment,
        "server_time": rfc3339(now),
        // Without a signed request the caller's clock is not known.
        "skew_ms": request.extensions().get::<Verified>().map(Verified::skew_ms),
    })))
}
