//! Every sentence of the broker's pages, in each language. `{}` stands for a name.

use super::language::Language;
use crate::error::ErrorCode;

macro_rules! messages {
    ($($name:ident = $english:literal, $chinese:literal;)*) => {
        /// A sentence of a page.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Message {
            $(
                #[doc = $english]
                $name,
            )*
        }

        impl Message {
            /// All of them, for the tests.
            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The sentence.
            pub fn text(self, language: Language) -> &'static str {
                match (self, language) {
                    $(
                        (Self::$name, Language::English) => $english,
                        (Self::$name, Language::Chinese) => $chinese,
                    )*
                }
            }
        }
    };
}

messages! {
    SignInFailed = "Sign-in failed", "登录失败";
    SignInImpossible = "Sign-in is not possible right now", "暂时无法登录";
    SignInAgain = "Go back to the application and sign in again.", "请返回应用，重新登录。";
    SignOutFailed = "Sign-out failed", "登出失败";
    SignOutImpossible = "Sign-out is not possible right now", "暂时无法登出";
    SignOutAgain = "Go back to the application and sign out again.", "请返回应用，重新登出。";
    PageNotFound = "Page not found", "找不到页面";
    NothingHere = "There is nothing at this address. Check it, or open the application that you want to use.", "这个地址没有内容。请检查地址，或打开你要使用的应用。";
    AccessFailed = "Access failed", "访问失败";
    AccessImpossible = "Access is not possible right now", "暂时无法访问";
    PageFailed = "This page cannot be shown", "无法显示此页面";
    OpenApplication = "Open the application", "打开应用";
    ApplicationMistake = "The application that sent you here made a mistake. That is not your fault.", "将你带到这里的应用出错了，这不是你的问题。";
    StartAgain = "Start again", "重新开始";
    ForDevelopers = "For the developers of the application", "供应用的开发者参考";
    RegisteredAddresses = "Registered for this client:", "此客户端已登记的地址：";
    IfItHappensAgain = "If this happens again, tell the people who run this service:", "如果问题再次出现，请告知此服务的管理员：";
    Request = "request", "请求";
    SignIn = "Sign in", "登录";
    SignInTo = "Sign in to {}", "登录 {}";
    ChooseHow = "Choose how you want to sign in.", "请选择登录方式。";
    ContinueWith = "Continue with {}", "使用 {} 登录";
    BackTo = "Back to {}", "返回 {}";
    Service = "Sign-in service", "登录服务";
    ServiceText = "This address signs people in to other applications. Open the application you want to use; it will bring you here when needed.", "此地址用于登录其他应用。请打开你要使用的应用，需要登录时它会带你到这里。";
    SignOutOf = "Sign out of {}?", "要登出 {} 吗？";
    SignOutQuestion = "Sign out?", "要登出吗？";
    SignedInAsWith = "You are signed in as {} with {}.", "你已以 {} 的身份登录（{}）。";
    SignedInAs = "You are signed in as {}.", "你已以 {} 的身份登录。";
    SignedInWith = "You are signed in with {}.", "你已通过 {} 登录。";
    SignedIn = "You are signed in.", "你已登录。";
    SignOut = "Sign out", "登出";
    StaySignedIn = "Stay signed in", "保持登录";
    SignedOut = "You are signed out", "你已登出";
    ProviderUnreachable = "{} could not be reached: you may still be signed in there. On a shared computer, sign out there as well.", "无法连接到 {}：你在那里可能仍处于登录状态。如果这是公用电脑，请也在那里登出。";
    CanClose = "You can close this page.", "你可以关闭此页面。";
    Continue = "Continue", "继续";
    SigningOutAt = "Now signing out at {}.", "正在登出 {}。";
}

impl Message {
    /// The sentence with a name in it.
    pub fn with(self, language: Language, name: &str) -> String {
        self.text(language).replacen("{}", name, 1)
    }
}

/// What an error means to a person. `english` is the text of the failure; the texts for the developers of applications
/// exist in English only.
pub fn of_error(code: ErrorCode, english: &'static str, language: Language) -> &'static str {
    match language {
        Language::English => english,
        Language::Chinese => in_chinese(code).unwrap_or(english),
    }
}

/// Whether the request itself was wrong, so that the text means nothing to the person who was sent here with it.
pub fn is_for_developers(code: ErrorCode) -> bool {
    use ErrorCode as Code;
    matches!(
        code,
        Code::InvalidRequest
            | Code::InvalidClient
            | Code::UnauthorizedClient
            | Code::UnsupportedResponseType
            | Code::InvalidScope
            | Code::RequestNotSupported
            | Code::RequestUriNotSupported
            | Code::InvalidTarget
            | Code::NotANavigation
            | Code::OriginNotAllowed
            | Code::MethodNotAllowed
            | Code::UnsupportedMediaType
            | Code::UriTooLong
    )
}

fn in_chinese(code: ErrorCode) -> Option<&'static str> {
    use ErrorCode as Code;
    Some(match code {
        Code::InvalidState => "这次登录已过期、已完成，或者是在另一个浏览器中开始的。请重新登录。",
        Code::IssuerMismatch => "回应来自另一个身份提供方，而不是这次登录所选的那一个。请重新登录。",
        Code::AccessDenied => "登录已取消，或者此帐号不允许登录。请换一个帐号，或联系管理员。",
        Code::InvalidGrant => "这次登录已过期或已完成。请重新登录。",
        Code::InsufficientUserAuthentication => "上次登录的时间太久，或强度不够。请重新登录。",
        Code::LoginRequired
        | Code::InteractionRequired
        | Code::ConsentRequired
        | Code::AccountSelectionRequired => "需要你亲自登录。请重新登录。",
        Code::RequestTimeout => "请求没有及时到达。请重试。",
        Code::ContentTooLarge => "请求内容太大。",
        Code::MisdirectedRequest => "此服务器不使用这个主机名。请使用它的公开地址。",
        Code::RateLimited => "请求太多。请稍候再试。",
        Code::ServerError => "发生了内部错误。请报告请求编号，详细信息记录在日志中。",
        Code::ProviderError => "身份提供方的回应无法使用。请稍后再试。",
        Code::InvalidIdToken => "身份提供方的身份令牌未通过验证。请重新登录。",
        Code::TemporarilyUnavailable => "服务暂时不可用。请稍后再试。",
        Code::ProviderTimeout => "身份提供方没有及时回应。请稍后再试。",
        Code::NotFound => "找不到。",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_chinese(text: &str) -> bool {
        text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter))
    }

    #[test]
    fn every_sentence_is_there_in_both_languages_with_the_same_names() {
        for message in Message::ALL {
            let [english, chinese] =
                [Language::English, Language::Chinese].map(|language| message.text(language));
            assert!(english.is_ascii() && is_chinese(chinese), "{message:?}");
            assert_eq!(english.matches("{}").count(), chinese.matches("{}").count(), "{message:?}");
        }
        assert_eq!(Message::SignInTo.with(Language::Chinese, "{}"), "登录 {}");
    }

    #[test]
    fn what_a_person_reads_of_an_error_is_in_their_language() {
        // The codes that only programs get: of the API, of gateways and of resource servers.
        use ErrorCode as Code;
        let of_programs = [
            Code::InvalidToken,
            Code::MissingToken,
            Code::UnauthenticatedClient,
            Code::UnsupportedGrantType,
            Code::InsufficientScope,
            Code::Forbidden,
            Code::UnknownPolicy,
            Code::TooManyPersonalTokens,
            Code::InvalidDpopProof,
            Code::InvalidDpopProofForGrant,
            Code::UseDpopNonce,
            Code::UseDpopNonceForGrant,
        ];
        for code in ErrorCode::ALL.iter().filter(|code| !of_programs.contains(code)) {
            let text = of_error(*code, code.public_text(), Language::Chinese);
            assert_eq!(is_chinese(text), !is_for_developers(*code), "{code}: {text}");
            assert_eq!(of_error(*code, code.public_text(), Language::English), code.public_text());
        }
    }
}
