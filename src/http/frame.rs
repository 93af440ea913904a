//! What is around every call: the request id, the trace, the problem body, the count.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, web};
use tracing::{Instrument as _, Span};

use crate::accounts::Unavailable;
use crate::accounts::error::AccountError;
use crate::events::ids::UserId;

use super::api::Api;
use super::error::ApiError;
use super::flow::Flow;
use super::limits;
use super::route::Route;
use super::trace::trace_id;
use super::{accept, answer};

/// The header a request id comes and goes in.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id taken from a caller, in bytes of printable ASCII.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// The id of a request: the caller's, or one that was made.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

impl RequestId {
    /// The id a request was given by the frame.
    pub fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_else(|| Self("-".to_owned()))
    }

    fn take_or_make(request: &ServiceRequest) -> Self {
        let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
        let fits = |id: &&str| {
            !id.is_empty()
                && id.len() <= REQUEST_ID_BYTES_MAX
                && id.bytes().all(|byte| byte.is_ascii_graphic())
        };
        given.filter(fits).map_or_else(Self::make, |id| Self(id.to_owned()))
    }

    fn make() -> Self {
        let mut bytes = [0_u8; 12];
        // Without randomness ids repeat; that is no reason to refuse the call.
        getrandom::fill(&mut bytes).unwrap_or_default();
        Self(hex::encode(bytes))
    }
}

/// What every line that is logged for a call begins with.
fn span_of(request: &ServiceRequest, id: &RequestId) -> Span {
    let trace_id = trace_id(request.headers());
    tracing::info_span!("call", request_id = %id.0, trace_id, user = tracing::field::Empty)
}

/// Says whom the call under way is about, where its path does not. The lines that are logged for
/// it say so from then on.
pub fn is_about(user: UserId) {
    Span::current().record("user", tracing::field::display(user));
}

/// Says whom a call is about by its path.
fn is_about_named(span: &Span, request: &HttpRequest, pattern: &str) {
    let named = pattern.starts_with("/v1/users/{id}").then(|| request.match_info().get("id"));
    if let Some(user) = named.flatten().and_then(|id| id.parse::<UserId>().ok()) {
        span.record("user", tracing::field::display(user));
    }
}

/// Gives the request its id, writes problem bodies, counts and logs the call.
pub async fn frame<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = RequestId::take_or_make(&request);
    request.extensions_mut().insert(id.clone());
    let method = request.method().clone();
    let span = span_of(&request, &id);
    let _running = Flow::begin(&request);
    let started = std::time::Instant::now();
    // Handlers' errors come as responses; the request must not be held while it is routed.
    let api = request.app_data::<web::Data<Api>>().cloned();
    let now = || api.as_ref().map_or(0, |api| api.accounts.clock().unix_ms());
    let response = match accept::check(&request) {
        Ok(()) => finish(next.call(request).instrument(span.clone()).await?, &id, now()),
        Err(error) => request.into_response(problem_response(&error, &id, now())),
    };
    let mut response = match &api {
        Some(api) => answer::sign(response, api).await.unwrap_or_else(|request| {
            ServiceResponse::new(request, problem_response(&ApiError::Internal, &id, now()))
        }),
        None => response,
    };
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let (status, seconds) = (response.status(), started.elapsed().as_secs_f64());
    let request = response.request().clone();
    // What matched no resource is answered by the app itself, which has a route of its own.
    if let Some(route) = request.app_data::<Route>() {
        limits::tell(&request, route.pattern(), response.headers_mut());
        route.count(counted(&method), status, seconds);
        let (route, status) = (route.pattern(), status.as_u16());
        // The last line of the call: whom it is about is written down for nobody else.
        if tracing::enabled!(tracing::Level::DEBUG) {
            is_about_named(&span, response.request(), route);
            span.in_scope(|| tracing::debug!(%method, route, status, seconds, "answered"));
        }
    }
    Ok(response)
}

/// What a connection is answered that is one too many: a whole answer, laid out.
pub fn turned_away() -> Vec<u8> {
    let error = ApiError::from(AccountError::from(Unavailable::Overloaded));
    let (status, _) = error.kind();
    let body = serde_json::to_vec(&error.problem(&RequestId::make().0)).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/problem+json\r\nRetry-After: {}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        error.retry_after_s().unwrap_or(1),
        body.len()
    );
    [head.into_bytes(), body].concat()
}

/// The word a method is counted under. Callers may send any word as a method, and each would be a
/// series of its own for ever.
fn counted(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// A response that carries an error gets its body.
fn finish<B: MessageBody + 'static>(
    response: ServiceResponse<B>,
    id: &RequestId,
    now: u64,
) -> ServiceResponse<BoxBody> {
    match response.response().error().map(|error| problem_of(error, id, now)) {
        Some(problem) => response.into_response(problem),
        None => response.map_into_boxed_body(),
    }
}

/// What an error is to a caller: ours as it is, the framework's as the nearest of ours.
fn problem_of(error: &Error, id: &RequestId, now: u64) -> HttpResponse {
    if let Some(known) = error.as_error::<ApiError>() {
        return problem_response(known, id, now);
    }
    let nearest = match error.as_response_error().status_code() {
        StatusCode::NOT_FOUND => ApiError::NotFound,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ApiError::UnsupportedMediaType,
        status if status.is_client_error() => {
            ApiError::MalformedJson("the request cannot be read".to_owned())
        }
        _ => ApiError::Internal,
    };
    problem_response(&nearest, id, now)
}

fn problem_response(error: &ApiError, id: &RequestId, now: u64) -> HttpResponse {
    let mut response = HttpResponse::build(error.kind().0);
    response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
    if let Some(seconds) = error.retry_after_s() {
        response.insert_header((header::RETRY_AFTER, seconds.to_string()));
    }
    match error {
        ApiError::MethodNotAllowed { allow } => {
            response.insert_header((header::ALLOW, allow.as_str()));
        }
        ApiError::UnsupportedMediaType => {
            response.insert_header((header::ACCEPT, "application/json"));
        }
        ApiError::NotNdjson => {
            response.insert_header((header::ACCEPT, "application/x-ndjson"));
        }
        ApiError::NotOctets => {
            response.insert_header((header::ACCEPT, "application/octet-stream"));
        }
        ApiError::StreamEncoding => {
            response.insert_header((header::ACCEPT, "application/x-ndjson"));
            response.insert_header((header::ACCEPT_ENCODING, "gzip, identity"));
        }
        ApiError::UnsupportedEncoding => {
            response.insert_header((header::ACCEPT, "application/json"));
            response.insert_header((header::ACCEPT_ENCODING, "identity"));
        }
        _ => {}
    }
    response.body(serde_json::to_vec(&error.problem(&id.0).at(now)).unwrap_or_default())
}
