//! Forgetting a person, and telling a person what is held.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::accounts::erasure::Receipt;

use super::api::Api;
use super::call::Company;
use super::error::ApiError;
use super::replicate::{Replicate, Replication};
use super::users::user_id;

/// How far an erasure is to go, and how many nodes to wait for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EraseQuery {
    #[serde(default)]
    everywhere: bool,
    replicate: Option<Replicate>,
}

/// What an erasure answers.
#[derive(Serialize)]
struct Erased {
    #[serde(flatten)]
    receipt: Receipt,
    replication: Replication,
}

/// `DELETE /v1/users/{id}`
pub(super) async fn erase(
    api: web::Data<Api>,
    company: Company,
    id: web::Path<String>,
    query: web::Query<EraseQuery>,
) -> Result<HttpResponse, ApiError> {
    let followed = api.accounts.write_for(Replicate::given(query.replicate));
    let receipt = api.accounts.erase(company.0, user_id(&id)?, query.everywhere).await?;
    let replication = followed.spread().await.into();
    Ok(HttpResponse::Accepted().json(Erased { receipt, replication }))
}

/// `GET /v1/users/{id}/erasure`
pub(super) async fn receipt(
    api: web::Data<Api>,
    company: Company,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(api.accounts.erasure(&company.0, user_id(&id)?).await?))
}

/// `GET /v1/users/{id}/export`
pub(super) async fn export(
    api: web::Data<Api>,
    company: Company,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(api.accounts.export(&company.0, user_id(&id)?).await?))
}
