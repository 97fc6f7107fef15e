//! The authenticated caller. What an endpoint needs of a token is in the type of its extractor, so that a handler can
//! neither forget the check nor check for something else.

use std::marker::PhantomData;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::LocalBoxFuture;

use super::dpop::PresentedToken;
use crate::domain::caller::Caller;
use crate::flow::authenticate::{Authenticated, SignedIn, authenticate};
use crate::flow::decide::{Access, Need};
use crate::state::Broker;

/// The scope that an endpoint needs.
pub trait NeededScope: 'static {
    /// Its name; `None` for endpoints that every token opens.
    const SCOPE: Option<&'static str>;
}

/// Who the user is: `profile`.
pub struct Profile;

/// What the user may do: `permissions`.
pub struct Permissions;

/// No scope: ending one's own session must always be possible.
pub struct NoScope;

impl NeededScope for Profile {
    const SCOPE: Option<&'static str> = Some("profile");
}

impl NeededScope for Permissions {
    const SCOPE: Option<&'static str> = Some("permissions");
}

impl NeededScope for NoScope {
    const SCOPE: Option<&'static str> = None;
}

/// A caller with a live token of any kind that has the scope `S`.
pub struct AnyToken<S: NeededScope> {
    /// The caller.
    pub authenticated: Authenticated,
    scope: PhantomData<S>,
}

/// A caller with a live token of a session that has the scope `S`.
pub struct SessionToken<S: NeededScope> {
    /// The caller.
    pub signed_in: SignedIn,
    scope: PhantomData<S>,
}

impl<S: NeededScope> FromRequest for AnyToken<S> {
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, actix_web::Result<Self>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let access = access(request, payload, Need::any_kind(S::SCOPE));
        Box::pin(async move { Ok(Self { authenticated: access.await?.into(), scope: PhantomData }) })
    }
}

impl<S: NeededScope> FromRequest for SessionToken<S> {
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, actix_web::Result<Self>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let access = access(request, payload, Need::session(S::SCOPE));
        Box::pin(async move {
            let signed_in = Authenticated::from(access.await?).try_into()?;
            Ok(Self { signed_in, scope: PhantomData })
        })
    }
}

fn access(
    request: &HttpRequest,
    payload: &mut Payload,
    need: Need<'static>,
) -> LocalBoxFuture<'static, actix_web::Result<Access>> {
    let token = PresentedToken::from_request(request, payload);
    let caller = Caller::from_request(request, payload);
    let broker = web::Data::<Broker>::from_request(request, payload);
    Box::pin(async move {
        let (token, caller, broker) = (token.await?, caller.await?, broker.await?);
        Ok(authenticate(&broker, &caller, &token.presented(), &need).await?)
    })
}
