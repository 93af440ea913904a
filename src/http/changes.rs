//! What changed with a company's customers.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::accounts::error::AccountError;
use crate::accounts::feed::Asked;

use super::api::Api;
use super::call::Company;
use super::error::ApiError;
use super::history::limit;

/// Longest wait, in seconds: less than what stands between usually keeps an answer waiting.
const WAIT_MAX_S: u64 = 30;

/// How changes are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangesQuery {
    after: Option<String>,
    limit: Option<String>,
    wait: Option<String>,
}

/// `GET /v1/changes`
pub async fn changes(
    api: web::Data<Api>,
    company: Company,
    query: web::Query<ChangesQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = limit(query.limit.as_deref())?;
    let wait = match &query.wait {
        None => 0,
        Some(text) => text
            .parse()
            .ok()
            .filter(|wait| *wait <= WAIT_MAX_S)
            .ok_or_else(|| AccountError::field("wait", "out_of_range", "0 to 30 seconds"))?,
    };
    let asked = Asked { after: query.after.as_deref(), limit, wait: Duration::from_secs(wait) };
    Ok(HttpResponse::Ok().json(api.accounts.changes(&company.0, asked).await?))
}
