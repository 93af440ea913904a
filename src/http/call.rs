//! A company's call, from its headers to what is asked and by whom.
//!
//! Every call goes through the same steps, in this order, before its handler sees it:
//!
//! 1. a node that lacks what others have answers nobody;
//! 2. the API key is recognised (`caller`);
//! 3. its limits are looked at (`limits`);
//! 4. the body is read, bounded (`body`);
//! 5. the signature is checked (`signed`): where the company must sign, and wherever there is one;
//! 6. the caller is made: who asks, what it may do, and what is kept of the request.
//!
//! So what a caller without a key sends is never read, and a handler is never given a body that
//! nobody vouches for.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::accounts::caller::Caller;

use super::api::Api;
use super::body;
use super::caller::recognise;
use super::error::ApiError;
use super::frame::RequestId;
use super::idempotency;
use super::limits;
use super::signed::{self, Carried};

/// A call without a body, by this company.
pub struct Company(pub Caller);

/// A call with a JSON body.
pub struct Call<T> {
    /// Who asks.
    pub caller: Caller,
    /// What it asks for.
    pub body: T,
}

/// A call whose body is a stream: its handler reads it, and believes it once it has this digest.
pub struct Streamed {
    /// Who asks.
    pub caller: Caller,
    /// SHA-256 of what is sent, where the call is signed.
    pub digest: Option<[u8; 32]>,
}

type Admitting<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>>>>;

impl FromRequest for Company {
    type Error = ApiError;
    type Future = Admitting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Ok(Self(admit(&request, Body::None).await?.caller)) })
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
            let admitted = admit(&request, Body::Json(payload)).await?;
            Ok(Self { caller: admitted.caller, body: body::parse(&admitted.asked)? })
        })
    }
}

impl FromRequest for Streamed {
    type Error = ApiError;
    type Future = Admitting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let admitted = admit(&request, Body::Stream).await?;
            Ok(Self { caller: admitted.caller, digest: admitted.digest })
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

/// What kind of body a call has.
enum Body {
    None,
    Json(web::Payload),
    Stream,
}

/// A call that went through all steps.
struct Admitted {
    caller: Caller,
    /// What is asked, as the JSON it was sent in; empty without a JSON body.
    asked: Zeroizing<Vec<u8>>,
    /// What a signed stream must have.
    digest: Option<[u8; 32]>,
}

/// The steps.
async fn admit(request: &HttpRequest, body: Body) -> Result<Admitted, ApiError> {
    let api = request.app_data::<web::Data<Api>>().ok_or(ApiError::Internal)?;
    if !api.health.admits() {
        return Err(ApiError::CatchingUp);
    }
    let recognised = recognise(request, api)?;
    limits::admit(request, api, recognised.caller.key)?;
    let carried = match body {
        Body::Json(payload) => Carried::Json(body::bytes(request, payload).await?),
        Body::None => Carried::Nothing,
        Body::Stream => Carried::Stream,
    };
    let (verified, asked) = signed::check(request, api, &recognised, carried).await?;
    let digest = verified.as_ref().and_then(|token| token.body_digest);
    let claimed = verified.as_ref().and_then(|token| token.idempotency_key.clone());
    if let Some(verified) = verified {
        request.extensions_mut().insert(verified);
    }
    let mut caller = recognised.caller;
    caller.cause.request = api.accounts.request_digest(&RequestId::of(request).0);
    if let Some(key) = idempotency::key_of(request, claimed.as_deref())? {
        let digest = idempotency::request_digest(request, &asked)?;
        caller.idempotency = Some(api.accounts.idempotency(caller.company, key, &digest));
    }
    Ok(Admitted { caller, asked, digest })
}
