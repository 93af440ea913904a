//! A company's call, from its headers to what is asked and by whom.
//!
//! Every call goes through the same steps, in this order, before its handler sees it:
//!
//! 1. the API key is recognised (`caller`);
//! 2. its limits are looked at (`limits`);
//! 3. the body is read, bounded (`body`);
//! 4. the signature is checked where the company must sign;
//! 5. the caller is made: who asks, what it may do, and what is kept of the request.
//!
//! So what a caller without a key sends is never read, and a handler is never given a body that
//! nobody vouches for.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::accounts::caller::Caller;
use crate::events::policy::Signing;

use super::api::Api;
use super::body;
use super::caller::recognise;
use super::error::ApiError;
use super::frame::RequestId;
use super::idempotency;
use super::limits;

/// A call without a body, by this company.
pub struct Company(pub Caller);

/// A call with a JSON body.
pub struct Call<T> {
    /// Who asks.
    pub caller: Caller,
    /// What it asks for.
    pub body: T,
}

type Admitting<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>>>>;

impl FromRequest for Company {
    type Error = ApiError;
    type Future = Admitting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Ok(Self(admit(&request, None).await?.0)) })
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Call<T> {
    type Error = ApiError;
    type Future = Admitting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let taken = web::Payload::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let payload = taken.await.map_err(|_| ApiError::Internal)?;
            let (caller, asked) = admit(&request, Some(payload)).await?;
            Ok(Self { caller, body: body::parse(&asked)? })
        })
    }
}

/// A call whose body is left out where its path says all.
pub struct CallOr<T>(pub Call<T>);

impl<T: DeserializeOwned + Default + 'static> FromRequest for CallOr<T> {
    type Error = ApiError;
    type Future = Admitting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if request.match_info().get("value").is_none() {
            let call = Call::from_request(request, payload);
            return Box::pin(async move { Ok(Self(call.await?)) });
        }
        let company = Company::from_request(request, payload);
        Box::pin(async move { Ok(Self(Call { caller: company.await?.0, body: T::default() })) })
    }
}

/// The steps. What is asked comes back as the JSON it was sent in; it is empty without a body.
async fn admit(
    request: &HttpRequest,
    payload: Option<web::Payload>,
) -> Result<(Caller, Zeroizing<Vec<u8>>), ApiError> {
    let api = request.app_data::<web::Data<Api>>().ok_or(ApiError::Internal)?;
    let recognised = recognise(request, api)?;
    limits::admit(request, api, recognised.caller.key)?;
    let asked = match payload {
        Some(payload) => body::bytes(request, payload).await?,
        None => Zeroizing::default(),
    };
    if recognised.signing == Signing::Required {
        let detail = "this version takes calls of companies with signing = \"optional\" only";
        return Err(ApiError::TokenMissing(detail));
    }
    let mut caller = recognised.caller;
    caller.cause.request = api.accounts.request_digest(&RequestId::of(request).0);
    // Of a signed call the claim `idk` goes here.
    if let Some(key) = idempotency::key_of(request, None)? {
        let digest = idempotency::request_digest(request, &asked)?;
        caller.idempotency = Some(api.accounts.idempotency(caller.company, key, &digest));
    }
    Ok((caller, asked))
}
