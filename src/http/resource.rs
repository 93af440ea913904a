//! A resource and its methods, as HTTP has them: HEAD wherever there is GET, OPTIONS everywhere,
//! and 405 that says what would have been allowed.

use actix_web::dev::{AppService, HttpServiceFactory};
use actix_web::http::{Method, header};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, guard, web};

use super::error::ApiError;
use super::route::Route;

/// A resource under construction.
#[must_use]
pub struct Methods {
    resource: Resource,
    allow: Vec<&'static str>,
}

/// The resource at a path, without methods yet. It is counted by that path's pattern.
pub fn resource(path: &'static str) -> Methods {
    let resource = web::resource(path).app_data(Route::new(path));
    Methods { resource, allow: vec!["OPTIONS"] }
}

impl Methods {
    /// Answers GET, and HEAD with the same headers and no body.
    pub fn get<F, Args>(mut self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let reads = guard::Any(guard::Get()).or(guard::Head());
        self.resource = self.resource.route(web::route().guard(reads).to(handler));
        self.allow.extend(["GET", "HEAD"]);
        self
    }

    /// Answers POST.
    pub fn post<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.on((Method::POST, "POST"), handler)
    }

    /// Answers PUT.
    pub fn put<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.on((Method::PUT, "PUT"), handler)
    }

    /// Answers PATCH.
    pub fn patch<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.on((Method::PATCH, "PATCH"), handler)
    }

    /// Answers DELETE.
    pub fn delete<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.on((Method::DELETE, "DELETE"), handler)
    }

    fn on<F, Args>(mut self, (method, name): (Method, &'static str), handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.resource = self.resource.route(web::method(method).to(handler));
        self.allow.push(name);
        self
    }
}

impl HttpServiceFactory for Methods {
    fn register(mut self, config: &mut AppService) {
        self.allow.sort_unstable();
        let allow = self.allow.join(", ");
        let rest = move |request: HttpRequest| std::future::ready(other(&request, &allow));
        self.resource.default_service(web::to(rest)).register(config);
    }
}

/// What a resource answers to the methods it does not have.
fn other(request: &HttpRequest, allow: &str) -> Result<HttpResponse, ApiError> {
    if request.method() == Method::OPTIONS {
        return Ok(HttpResponse::NoContent().insert_header((header::ALLOW, allow)).finish());
    }
    Err(ApiError::MethodNotAllowed { allow: allow.to_owned() })
}
