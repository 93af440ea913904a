//! Users: register, find, read, change.

use std::collections::BTreeMap;

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::accounts::Password;
use crate::accounts::error::AccountError;
use crate::accounts::given::given;
use crate::accounts::legacy::GivenHash;
use crate::accounts::register::Registration;
use crate::accounts::replication::Followed;
use crate::accounts::view::UserView;
use crate::events::account::Seen;
use crate::events::command::Outcome;
use crate::events::ids::{Country, UserId};

use super::api::Api;
use super::body;
use super::call::{Call, Company};
use super::error::ApiError;
use super::frame;
use super::replicate::{Replicate, Replication};

/// A password in a body: wiped when dropped.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct GivenPassword(String);

impl From<GivenPassword> for Password {
    fn from(given: GivenPassword) -> Self {
        Self::new(given.0)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterBody {
    country: Country,
    #[serde(default, deserialize_with = "given")]
    email: Option<String>,
    #[serde(default, deserialize_with = "given")]
    phone: Option<String>,
    #[serde(default)]
    email_verified: bool,
    #[serde(default)]
    phone_verified: bool,
    #[serde(default, deserialize_with = "given")]
    password: Option<GivenPassword>,
    #[serde(default, deserialize_with = "given")]
    legacy_hash: Option<GivenHash>,
    #[serde(default, deserialize_with = "body::members")]
    profile: BTreeMap<String, Value>,
    #[serde(default, deserialize_with = "given")]
    replicate: Option<Replicate>,
}

/// What a registration answers.
#[derive(Serialize)]
struct Registered {
    #[serde(flatten)]
    user: UserView,
    replication: Replication,
}

/// `POST /v1/users`
pub(super) async fn register(
    api: web::Data<Api>,
    Call { caller, body }: Call<RegisterBody>,
) -> Result<HttpResponse, ApiError> {
    let registration = Registration {
        country: body.country,
        email: body.email,
        phone: body.phone,
        email_verified: body.email_verified,
        phone_verified: body.phone_verified,
        password: body.password.map(Password::from),
        legacy_hash: body.legacy_hash,
        profile: body.profile,
    };
    let followed = api.accounts.write_for(Replicate::given(body.replicate));
    let user = api.accounts.register(caller, registration).await?;
    frame::is_about(user.user_id);
    let location = format!("/v1/users/{}", user.user_id);
    let registered = Registered { user, replication: followed.spread().await.into() };
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(registered))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LookupBody {
    #[serde(default, deserialize_with = "given")]
    country: Option<Country>,
    #[serde(default, deserialize_with = "given")]
    email: Option<String>,
    #[serde(default, deserialize_with = "given")]
    phone: Option<String>,
}

/// `POST /v1/users/lookup`
pub(super) async fn lookup(
    api: web::Data<Api>,
    Call { caller, body }: Call<LookupBody>,
) -> Result<HttpResponse, ApiError> {
    let (email, phone) = (body.email.as_deref(), body.phone.as_deref());
    let found = api.accounts.lookup(&caller, email, phone, body.country).await?;
    frame::is_about(found.user_id);
    Ok(HttpResponse::Ok().json(found))
}

/// `GET /v1/users/{id}`
pub(super) async fn get(
    api: web::Data<Api>,
    company: Company,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(etag_of);
    let (seen, user) = api.accounts.get(&company.0, user_id(&id)?, known).await?;
    let mut response = match user {
        Some(user) => HttpResponse::Ok().json(user),
        None => HttpResponse::NotModified().finish(),
    };
    if let Ok(value) = HeaderValue::from_str(&format!("\"{seen}\"")) {
        response.headers_mut().insert(header::ETAG, value);
    }
    Ok(response)
}

fn etag_of(value: &HeaderValue) -> Option<Seen> {
    value.to_str().ok()?.trim().trim_start_matches("W/").trim_matches('"').parse().ok()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PatchBody {
    #[serde(deserialize_with = "body::members")]
    profile: BTreeMap<String, Value>,
    #[serde(default, deserialize_with = "given")]
    if_revision: Option<String>,
    #[serde(default, deserialize_with = "given")]
    replicate: Option<Replicate>,
}

/// What a write answers.
#[derive(Serialize)]
struct Written {
    revision: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    replication: Replication,
}

/// The answer to a write.
pub(super) async fn written(
    followed: Followed<'_>,
    seen: Seen,
    outcome: Option<Outcome>,
) -> HttpResponse {
    let verdict = outcome.map(|outcome| match outcome {
        Outcome::Applied => "applied",
        Outcome::Older => "older",
        Outcome::Unchanged => "unchanged",
    });
    let replication = followed.spread().await.into();
    HttpResponse::Ok().json(Written { revision: seen.to_string(), verdict, replication })
}

/// `PATCH /v1/users/{id}`
pub(super) async fn patch(
    api: web::Data<Api>,
    Call { caller, body }: Call<PatchBody>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let if_seen = body.if_revision.as_deref().map(revision).transpose()?;
    let accounts = &api.accounts;
    let followed = accounts.write_for(Replicate::given(body.replicate));
    let seen = accounts.update_profile(&caller, user_id(&id)?, &body.profile, if_seen).await?;
    Ok(written(followed, seen, None).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordBody {
    password: GivenPassword,
    #[serde(default, deserialize_with = "given")]
    current_password: Option<GivenPassword>,
    #[serde(default, deserialize_with = "given")]
    replicate: Option<Replicate>,
}

/// `PUT /v1/users/{id}/password`
pub(super) async fn password(
    api: web::Data<Api>,
    Call { caller, body }: Call<PasswordBody>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let followed = api.accounts.write_for(Replicate::given(body.replicate));
    let (new, current) = (body.password.into(), body.current_password.map(Password::from));
    let seen = api.accounts.set_password(&caller, user_id(&id)?, new, current).await?;
    Ok(written(followed, seen, None).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LegacyHashBody {
    hash: Zeroizing<String>,
    #[serde(default, deserialize_with = "given")]
    salt: Option<Zeroizing<String>>,
    #[serde(default, deserialize_with = "given")]
    profile: Option<String>,
    #[serde(default, deserialize_with = "given")]
    changed_at: Option<String>,
    #[serde(default, deserialize_with = "given")]
    replicate: Option<Replicate>,
}

/// `PUT /v1/users/{id}/legacy-hashes/{country}`
pub(super) async fn legacy_hash(
    api: web::Data<Api>,
    Call { caller, body }: Call<LegacyHashBody>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let LegacyHashBody { hash, salt, profile, changed_at, replicate } = body;
    let followed = api.accounts.write_for(Replicate::given(replicate));
    let given = GivenHash { hash, salt, profile, changed_at };
    let (user, country) = (user_id(&path.0)?, country(&path.1)?);
    let added = api.accounts.add_legacy_hash(&caller, user, country, given).await?;
    Ok(written(followed, added.0, Some(added.1)).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusBody {
    status: StatusWord,
    #[serde(default, deserialize_with = "given")]
    replicate: Option<Replicate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum StatusWord {
    Active,
    Disabled,
}

/// `PUT /v1/users/{id}/status`
pub(super) async fn status(
    api: web::Data<Api>,
    Call { caller, body }: Call<StatusBody>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let followed = api.accounts.write_for(Replicate::given(body.replicate));
    let active = matches!(body.status, StatusWord::Active);
    let seen = api.accounts.set_status(&caller, user_id(&id)?, active).await?;
    Ok(written(followed, seen, None).await)
}

/// The user a path names. What is no UUID is nobody.
pub(super) fn user_id(text: &str) -> Result<UserId, ApiError> {
    text.parse().map_err(|_| AccountError::UserNotFound.into())
}

/// A country in a path or query.
pub(super) fn country(text: &str) -> Result<Country, ApiError> {
    text.parse().map_err(|error| AccountError::field("country", "invalid", error).into())
}

/// A revision in a body.
pub(super) fn revision(text: &str) -> Result<Seen, ApiError> {
    text.parse().map_err(|error| AccountError::field("if_revision", "invalid", error).into())
}
