//! A user's events, redacted.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::accounts::error::AccountError;
use crate::accounts::history::HistoryEntry;
use crate::events::record::LogPosition;

use super::api::Api;
use super::call::Company;
use super::error::ApiError;
use super::users::user_id;

/// Entries of a page where the caller does not say.
const LIMIT_DEFAULT: usize = 100;

/// Most entries of a page.
const LIMIT_MAX: usize = 1000;

/// How a list is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    after: Option<String>,
    limit: Option<String>,
}

impl ListQuery {
    fn read(&self) -> Result<(LogPosition, usize), ApiError> {
        let after = match &self.after {
            None => LogPosition::START,
            Some(text) => cursor(text).ok_or(AccountError::InvalidCursor)?,
        };
        let limit = limit(self.limit.as_deref())?;
        Ok((after, limit))
    }
}

/// How many entries a page is asked for.
pub(super) fn limit(text: Option<&str>) -> Result<usize, AccountError> {
    let Some(text) = text else { return Ok(LIMIT_DEFAULT) };
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| AccountError::field("limit", "out_of_range", "1 to 1000"))
}

/// A position as a page's `next` writes it, in no other spelling.
fn cursor(text: &str) -> Option<LogPosition> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let bits = u64::from_str_radix(text, 16).ok().filter(|_| digits && text.len() == 16)?;
    Some(LogPosition::from_bits(bits))
}

#[derive(Serialize)]
struct HistoryPage {
    events: Vec<HistoryEntry>,
    next: String,
    has_more: bool,
}

/// `GET /v1/users/{id}/history`
pub async fn history(
    api: web::Data<Api>,
    company: Company,
    id: web::Path<String>,
    query: web::Query<ListQuery>,
) -> Result<HttpResponse, ApiError> {
    let (after, limit) = query.read()?;
    let found = api.accounts.history(&company.0, user_id(&id)?, after, limit + 1).await?;
    let has_more = found.len() > limit;
    let page = found.into_iter().take(limit);
    let mut next = after;
    let mut events = Vec::new();
    for (position, entry) in page {
        next = position;
        events.push(entry);
    }
    let next = format!("{:016x}", next.to_bits());
    Ok(HttpResponse::Ok().json(HistoryPage { events, next, has_more }))
}
