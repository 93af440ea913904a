//! Who calls: a company by its API key, or the operator by the node's token.

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::accounts::caller::Recognised;
use crate::accounts::company::PresentedKey;

use super::answer::Asker;
use super::api::Api;
use super::error::ApiError;

/// The header an API key comes in.
const API_KEY: &str = "x-api-key";

/// The company whose API key a call carries.
pub(super) fn recognise(request: &HttpRequest, api: &Api) -> Result<Recognised, ApiError> {
    let sent = request.headers().get(API_KEY);
    let sent = sent.ok_or(ApiError::ApiKeyInvalid("the header X-Api-Key is missing"))?;
    let shape = ApiError::ApiKeyInvalid("an API key looks like jcas_<key id>_<secret>");
    let presented = sent.to_str().ok().and_then(PresentedKey::parse).ok_or(shape)?;
    let recognised = api.accounts.recognise(presented);
    let recognised = recognised.map_err(|refused| ApiError::ApiKeyInvalid(refused.0))?;
    Asker::recognised_as(request, recognised.caller.company);
    Ok(recognised)
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
