//! Logging a user in.

use std::net::IpAddr;

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::accounts::Password;
use crate::accounts::error::AccountError;
use crate::accounts::given::given;
use crate::accounts::login::{Login, Who};
use crate::events::ids::{Country, IdentityKind, UserId};

use super::api::Api;
use super::call::Call;
use super::error::ApiError;
use super::frame;
use super::users::GivenPassword;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginBody {
    country: Country,
    #[serde(default, deserialize_with = "given")]
    user_id: Option<UserId>,
    #[serde(default, deserialize_with = "given")]
    email: Option<String>,
    #[serde(default, deserialize_with = "given")]
    phone: Option<String>,
    password: GivenPassword,
    #[serde(default, deserialize_with = "given")]
    known_revision: Option<String>,
    #[serde(default, deserialize_with = "given")]
    client_ip: Option<IpAddr>,
}

/// `POST /v1/login`
pub(super) async fn login(
    api: web::Data<Api>,
    Call { caller, body }: Call<LoginBody>,
) -> Result<HttpResponse, ApiError> {
    let who = match (body.user_id, body.email, body.phone) {
        (Some(user), None, None) => Who::User(user),
        (None, Some(email), None) => Who::Identity(IdentityKind::Email, email),
        (None, None, Some(phone)) => Who::Identity(IdentityKind::Phone, phone),
        _ => {
            let detail = "give one of user_id, email and phone";
            return Err(AccountError::field("user_id", "one_of", detail).into());
        }
    };
    let login = Login {
        country: body.country,
        who,
        password: Password::from(body.password),
        // A revision that was never given out is one that does not hold.
        known: body.known_revision.and_then(|text| text.parse().ok()),
        client: body.client_ip,
    };
    let answered = api.accounts.login(caller, login).await;
    if let Ok(view) = &answered {
        frame::is_about(view.user.user_id);
    }
    let result = match &answered {
        Ok(view) if view.upgraded => "upgraded",
        Ok(_) => "ok",
        Err(AccountError::InvalidCredentials) => "refused",
        Err(AccountError::TooManyAttempts { .. } | AccountError::RateLimited(_)) => "held_back",
        Err(_) => "failed",
    };
    metrics::counter!("jcas_logins_total", "result" => result).increment(1);
    Ok(HttpResponse::Ok().json(answered?))
}
