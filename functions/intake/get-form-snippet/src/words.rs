//! The texts of the form.
use shared::text_enum;

text_enum! {
    /// The languages of the form, as HTML's `lang` spells them.
    #[derive(Default)]
    Lang {
        /// Norwegian bokmål.
        #[default]
        Bokmal = "nb",
        /// English.
        English = "en",
    }
}

/// The texts of one language.
pub struct Words {
    /// The label of the name.
    pub name: &'static str,
    /// The label of the e-mail address.
    pub email: &'static str,
    /// The label of the phone number, which is enough by itself.
    pub phone: &'static str,
    /// The label of the car.
    pub vehicle: &'static str,
    /// The label of the message.
    pub message: &'static str,
    /// The text of the consent, with `{dealership}` for the dealership's name.
    pub consent: &'static str,
    /// The version of `consent`. A new text needs a new version, since people agree to the text that they read.
    pub consent_version: &'static str,
    /// The label of the honeypot, for people who see it all the same.
    pub gotcha: &'static str,
    /// The label of the button.
    pub send: &'static str,
}

impl Lang {
    /// Its texts.
    #[must_use]
    pub fn words(self) -> &'static Words {
        match self {
            Self::Bokmal => &BOKMAL,
            Self::English => &ENGLISH,
        }
    }
}

const BOKMAL: Words = Words {
    name: "Navn",
    email: "E-post",
    phone: "Telefon (nok i seg selv, om du heller vil bli ringt)",
    vehicle: "Hvilken bil gjelder det?",
    message: "Melding",
    consent: "Ja, {dealership} kan sende meg tilbud og nyheter på e-post og SMS. \
              Jeg kan når som helst trekke samtykket tilbake.",
    consent_version: "nb-1",
    gotcha: "La dette feltet stå tomt",
    send: "Send",
};

const ENGLISH: Words = Words {
    name: "Name",
    email: "E-mail",
    phone: "Phone (enough by itself, if you would rather be called)",
    vehicle: "Which car is it about?",
    message: "Message",
    consent: "Yes, {dealership} may send me offers and news by e-mail and text message. \
              I can withdraw my consent at any time.",
    consent_version: "en-1",
    gotcha: "Leave this field empty",
    send: "Send",
};
