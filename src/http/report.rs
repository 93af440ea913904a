//! How far a company's customers have moved over, page by page.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::accounts::error::AccountError;
use crate::events::ids::UserId;

use super::api::Api;
use super::caller::Operator;
use super::error::ApiError;
use super::history::limit;
use super::operator::company_id;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportQuery {
    after: Option<String>,
    limit: Option<String>,
}

/// `GET /operator/companies/{id}/report`
pub(super) async fn report(
    api: web::Data<Api>,
    _: Operator,
    id: web::Path<String>,
    query: web::Query<ReportQuery>,
) -> Result<HttpResponse, ApiError> {
    let read = |text: &String| text.parse().map_err(|_| AccountError::InvalidCursor);
    let after: Option<UserId> = query.after.as_ref().map(read).transpose()?;
    let users_max = limit(query.limit.as_deref())?;
    let page = api.accounts.report(company_id(&id)?, after, users_max).await?;
    Ok(HttpResponse::Ok().json(page))
}
