//! Who calls: a company by its API key, or the operator by the node's token.

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::accounts::caller::Caller;
use crate::accounts::company::PresentedKey;
use crate::events::policy::Signing;

use super::api::Api;
use super::error::ApiError;
use super::frame::RequestId;

/// The header an API key comes in.
const API_KEY: &str = "x-api-key";

/// A company that was recognised.
pub struct Company(pub Caller);

impl FromRequest for Company {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(recognise(request).map(Self))
    }
}

fn recognise(request: &HttpRequest) -> Result<Caller, ApiError> {
    let api = request.app_data::<web::Data<Api>>().ok_or(ApiError::Internal)?;
    let sent = request.headers().get(API_KEY);
    let sent = sent.ok_or(ApiError::ApiKeyInvalid("the header X-Api-Key is missing"))?;
    let shape = ApiError::ApiKeyInvalid("an API key looks like jcas_<key id>_<secret>");
    let presented = sent.to_str().ok().and_then(PresentedKey::parse).ok_or(shape)?;
    let registry = api.accounts.house().registry();
    // An unknown key is compared as well, so that time does not tell which ids exist.
    let found = registry.api_key(presented.id);
    let digest = found.map_or([0; 32], |(key, _)| key.digest);
    let equal: bool = presented.digest.ct_eq(&digest).into();
    let Some((key, company)) = found.filter(|_| equal) else {
        return Err(ApiError::ApiKeyInvalid("the API key is not known, or it was withdrawn"));
    };
    let now = api.accounts.clock().unix_ms();
    if key.expires_unix_ms.is_some_and(|expires| expires <= now) {
        return Err(ApiError::ApiKeyInvalid("the API key has expired"));
    }
    let registered = company.registered.as_ref().map(|cell| &cell.value);
    if registered.is_none_or(|company| company.signing == Signing::Required) {
        let detail = "this version takes calls of companies with signing = \"optional\" only";
        return Err(ApiError::TokenMissing(detail));
    }
    let id = RequestId::of(request);
    Ok(Caller {
        company: key.company,
        key: key.key,
        countries: company.countries().to_vec(),
        scopes: key.scopes.clone(),
        policies: company.policies(),
        cause: api.accounts.cause(key.company, key.key, &id.0),
    })
}

/// The operator.
pub struct Operator;

impl FromRequest for Operator {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(operator(request))
    }
}

fn operator(request: &HttpRequest) -> Result<Operator, ApiError> {
    let api = request.app_data::<web::Data<Api>>().ok_or(ApiError::Internal)?;
    let sent = request.headers().get(actix_web::http::header::AUTHORIZATION);
    let sent = sent.and_then(|value| value.to_str().ok());
    let token = sent.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    // Digests have one length, so the comparison takes one time.
    let (sent, kept) = (Sha256::digest(token), Sha256::digest(&api.operator_token));
    if bool::from(sent.ct_eq(&kept)) { Ok(Operator) } else { Err(ApiError::OperatorTokenInvalid) }
}
