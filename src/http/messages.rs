//! Every sentence of the broker's pages, in each language. `{}` is replaced by a name.

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
    ConnectFailed = "The connection of the device failed", "设备连接失败";
    ConnectImpossible = "The connection of the device is not possible right now", "暂时无法连接设备";
    ConnectDevice = "Connect a device", "连接设备";
    SignInForDevice = "Sign in first. Then you enter the code that your device shows, and decide whether it may use your account.", "请先登录。然后输入设备上显示的代码，并决定它是否可以使用你的帐号。";
    OnlyYourOwnDevice = "Only continue if you started this on your own device, just now.", "仅当这是你刚刚在自己的设备上开始的操作时，才继续。";
    SentByOthers = "If someone sent you the code or a link, or asked you to come here, do not continue: they would be signed in as you.", "如果代码或链接是别人发给你的，或者是别人让你来这里的，请不要继续：否则对方会以你的身份登录。";
    CompareCode = "Compare this code with the one that your device shows.", "请将此代码与设备上显示的代码进行比较。";
    EnterCode = "Enter the code that your device shows.", "请输入设备上显示的代码。";
    Code = "Code", "代码";
    CodeMalformed = "That is not a code: it has eight letters, as in WDJB-MJHT.", "这不是代码：代码有八个字母，例如 WDJB-MJHT。";
    CodeUnknown = "No device is waiting with this code. Check it, or start again on your device: a code is valid for ten minutes.", "没有设备在等待此代码。请检查代码，或在设备上重新开始：代码的有效期为十分钟。";
    CodeAnswered = "This code was already used. Start again on your device.", "此代码已被使用。请在设备上重新开始。";
    ConnectToAccount = "Connect {} to your account?", "要将 {} 连接到你的帐号吗？";
    DeviceShowsCode = "Your device must show this code:", "你的设备必须显示此代码：";
    CameFromDevice = "The request came from {}, in the network {}.", "请求来自 {}，所在网络为 {}。";
    CameFromNetwork = "The request came from the network {}.", "请求来自网络 {}。";
    MayAct = "{} will be able to act for you.", "{} 将可以代表你进行操作。";
    MayActWithin = "{} will be able to act for you: {}.", "{} 将可以代表你进行操作：{}。";
    Connect = "Connect", "连接";
    DoNotConnect = "Do not connect", "不连接";
    UseAnotherAccount = "Use another account", "使用其他帐号";
    DeviceConnected = "Your device is connected", "你的设备已连接";
    DeviceConnectedText = "{} is signed in with your account now. You can close this page and go back to your device.", "{} 现已使用你的帐号登录。你可以关闭此页面，回到你的设备。";
    DeviceRefused = "The device was not connected", "设备未连接";
    DeviceRefusedText = "It has no access to your account. You can close this page.", "它无法访问你的帐号。你可以关闭此页面。";
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
        // The codes that only programs get: of the API, of devices, of gateways and of resource servers.
        use ErrorCode as Code;
        let of_programs = [
            Code::InvalidToken,
            Code::MissingToken,
            Code::UnauthenticatedClient,
            Code::UnsupportedGrantType,
            Code::AuthorizationPending,
            Code::SlowDown,
            Code::ExpiredToken,
            Code::DeviceDenied,
            Code::InsufficientScope,
            Code::Forbidden,
            Code::UnknownPolicy,
            Code::TooManyPersonalTokens,
            Code::HeadTooLarge,
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
