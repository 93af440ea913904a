//! Users who are one person, and those who may be.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::accounts::error::AccountError;
use crate::accounts::given::given;
use crate::accounts::link::LinkCandidate;
use crate::accounts::view::UserView;
use crate::events::decide_link::LinkCommand;
use crate::events::ids::UserId;

use super::api::Api;
use super::call::{Call, Company};
use super::error::ApiError;
use super::history::limit;
use super::replicate::{Replicate, Replication};
use super::users::user_id;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkBody {
    with: String,
    #[serde(default, deserialize_with = "given")]
    replicate: Option<Replicate>,
}

#[derive(Serialize)]
struct Linked {
    #[serde(flatten)]
    user: UserView,
    replication: Replication,
}

/// `POST /v1/users/{id}/link`
pub(super) async fn link(
    api: web::Data<Api>,
    call: Call<LinkBody>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    carry_out(&api, call, &id, LinkCommand::Link).await
}

/// `POST /v1/users/{id}/unlink`
pub(super) async fn unlink(
    api: web::Data<Api>,
    call: Call<LinkBody>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    carry_out(&api, call, &id, LinkCommand::Unlink).await
}

async fn carry_out(
    api: &Api,
    Call { caller, body }: Call<LinkBody>,
    id: &str,
    command: LinkCommand,
) -> Result<HttpResponse, ApiError> {
    let followed = api.accounts.write_for(Replicate::given(body.replicate));
    let user = user_id(id)?;
    api.accounts.link(&caller, command, (user, user_id(&body.with)?)).await?;
    let user = api.accounts.linked_view(&caller, user).await?;
    let replication = followed.spread().await.into();
    Ok(HttpResponse::Ok().json(Linked { user, replication }))
}

/// How candidates are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CandidatesQuery {
    after: Option<String>,
    limit: Option<String>,
}

#[derive(Serialize)]
struct CandidatesPage {
    candidates: Vec<LinkCandidate>,
    next: String,
    has_more: bool,
}

/// `GET /v1/link-candidates`
pub(super) async fn candidates(
    api: web::Data<Api>,
    company: Company,
    query: web::Query<CandidatesQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = limit(query.limit.as_deref())?;
    let after = match query.after.as_deref() {
        None | Some("0") => None,
        Some(text) => Some(cursor(text).ok_or(AccountError::InvalidCursor)?),
    };
    let page = api.accounts.link_candidates(&company.0, after, limit).await?;
    let next = page.last.map_or_else(|| "0".to_owned(), |(one, other)| format!("{one}_{other}"));
    let (candidates, has_more) = (page.found, page.has_more);
    Ok(HttpResponse::Ok().json(CandidatesPage { candidates, next, has_more }))
}

/// A pair as a page's `next` writes it, in no other spelling.
fn cursor(text: &str) -> Option<(UserId, UserId)> {
    let (one, other) = text.split_once('_')?;
    let pair: (UserId, UserId) = (one.parse().ok()?, other.parse().ok()?);
    (format!("{}_{}", pair.0, pair.1) == text).then_some(pair)
}

#[derive(Serialize)]
struct Declined {
    replication: Replication,
}

/// `DELETE /v1/link-candidates/{id}/{with}`
pub(super) async fn decline(
    api: web::Data<Api>,
    company: Company,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let followed = api.accounts.write_for(Replicate::given(None));
    let pair = (user_id(&path.0)?, user_id(&path.1)?);
    api.accounts.link(&company.0, LinkCommand::Decline, pair).await?;
    Ok(HttpResponse::Ok().json(Declined { replication: followed.spread().await.into() }))
}
