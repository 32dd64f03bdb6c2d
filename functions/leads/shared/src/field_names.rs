//! Other names of a lead's fields, in English and Norwegian bokmål: headers of files and fields of forms.
use shared::text_enum;

text_enum! {
    /// The meaning of a header or of a form field. All but the full name are columns of `leads`.
    LeadField {
        /// Given name.
        FirstName = "first_name",
        /// Family name.
        LastName = "last_name",
        /// First and last name in one; [`split_full_name`] divides it.
        FullName = "full_name",
        /// E-mail address.
        Email = "email",
        /// Phone number, mobile or not.
        Phone = "phone",
        /// The customer's company, or the customer if it is a company.
        Company = "company",
        /// The customer's message.
        Message = "message",
        /// The car they ask about, in their words.
        VehicleOfInterest = "vehicle_of_interest",
        /// The source of the lead.
        Source = "source",
    }
}

/// The names, as [`normalized`] returns them. Some are from exports of other programs (Outlook, Google, HubSpot) and
/// from form builders (Contact Form 7's `your-name`, HTML's `autocomplete` tokens).
const NAMES: [(LeadField, &str); 9] = [
    (LeadField::FirstName, "firstname givenname forename fname yourfirstname fornavn dittfornavn"),
    (
        LeadField::LastName,
        "lastname surname familyname lname yourlastname etternavn dittetternavn slektsnavn",
    ),
    (
        LeadField::FullName,
        "fullname name yourname contact contactname contactperson customer customername navn \
         dittnavn fulltnavn fornavnogetternavn kontakt kontaktnavn kontaktperson kunde kundenavn",
    ),
    (
        LeadField::Email,
        "email emailaddress mail mailaddress youremail contactemail emailaddress1 email1value \
         epost epostadresse epostadr dinepost mailadresse emailadresse",
    ),
    (
        LeadField::Phone,
        "phone phonenumber phoneno telephone telephonenumber tel mobile mobilephone mobilenumber \
         mobilephonenumber cell cellphone yourphone yourtel contactphone primaryphone \
         businessphone workphone homephone phone1value phonee164 telefon telefonnummer telefonnr \
         tlf tlfnr tlfnummer mobil mobilnummer mobilnr mobiltlf mobiltelefon mob dintelefon \
         dittelefonnummer dittmobilnummer telefonarbeid telefonprivat telefonmobil",
    ),
    (
        LeadField::Company,
        "company companyname organization organisation organizationname business businessname \
         yourcompany firma firmanavn bedrift bedriftsnavn selskap selskapsnavn organisasjon",
    ),
    (
        LeadField::Message,
        "message yourmessage comment comments note notes enquiry inquiry question questions \
         description melding dinmelding beskjed kommentar kommentarer notat notater merknad \
         henvendelse sporsmal spoersmaal beskrivelse",
    ),
    (
        LeadField::VehicleOfInterest,
        "vehicle vehicleofinterest vehiclemodel car carmodel carofinterest model makeandmodel \
         interestedin bil bilmodell bilavinteresse modell merkeogmodell onsketbil oensketbil \
         onsketmodell interesserti kjoretoy kjoeretoey kjoretoyavinteresse",
    ),
    (LeadField::Source, "source leadsource origin kilde leadkilde opprinnelse"),
];

/// Lower-case words with which a family name may begin.
const PARTICLES: [&str; 17] = [
    "af", "av", "da", "de", "del", "den", "der", "di", "do", "dos", "du", "la", "le", "ten", "ter", "van",
    "von",
];

/// The field that a header or a form field called `name` means, if the name is known. Case, spaces, punctuation and a
/// remark in brackets do not matter, and æ, ø and å may be spelled ae, o and a: `E-post`, `E_POST` and `e-post (må
/// fylles ut)` are one name.
#[must_use]
pub fn lead_field(name: &str) -> Option<LeadField> {
    let name = normalized(name);
    let mut known = NAMES.iter();
    known.find(|(_, names)| names.split(' ').any(|known| known == name)).map(|(field, _)| *field)
}

fn normalized(name: &str) -> String {
    let mut plain = String::new();
    for letter in name.split('(').next().unwrap_or_default().chars().flat_map(char::to_lowercase) {
        match letter {
            'æ' => plain.push_str("ae"),
            'ø' | 'ö' => plain.push('o'),
            'å' | 'ä' => plain.push('a'),
            // A combining mark, as in a decomposed å, is not a letter.
            letter if letter.is_alphanumeric() => plain.push(letter),
            _ => {}
        }
    }
    plain
}

/// Divides a full name into first and last name, before or after the last name: `Kari Anne Nordmann`, `Nordmann, Kari
/// Anne`, `Erik von der Lippe`. One word is a first name. Only white space and the comma are lost.
#[must_use]
pub fn split_full_name(name: &str) -> (Option<String>, Option<String>) {
    let some = |words: &[&str]| (!words.is_empty()).then(|| words.join(" "));
    if let Some((last, first)) = name.split_once(',') {
        let (first, last): (Vec<_>, Vec<_>) =
            (first.split_whitespace().collect(), last.split_whitespace().collect());
        return (some(&first), some(&last));
    }
    let words: Vec<&str> = name.split_whitespace().collect();
    let particle =
        words.iter().skip(1).position(|word| PARTICLES.contains(word)).map(|position| position + 1);
    let last = particle.unwrap_or(words.len().saturating_sub(1)).max(1).min(words.len());
    let (first, last) = words.split_at(last);
    (some(first), some(last))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_in_english_and_norwegian_in_any_spelling() {
        for (name, field) in [
            ("Fornavn", LeadField::FirstName),
            ("first_name", LeadField::FirstName),
            ("ETTERNAVN", LeadField::LastName),
            ("Navn", LeadField::FullName),
            ("your-name", LeadField::FullName),
            ("E-post", LeadField::Email),
            ("e_post", LeadField::Email),
            ("E-postadresse:", LeadField::Email),
            ("E-post (må fylles ut)", LeadField::Email),
            ("Tlf. nr.", LeadField::Phone),
            ("Mobil", LeadField::Phone),
            ("Telefon (dagtid)", LeadField::Phone),
            ("Firma", LeadField::Company),
            ("Din melding", LeadField::Message),
            ("Spørsmål", LeadField::Message),
            // A decomposed å.
            ("Spørsma\u{30a}l", LeadField::Message),
            ("Bil", LeadField::VehicleOfInterest),
            ("KJØRETØY", LeadField::VehicleOfInterest),
            ("kjoretoy", LeadField::VehicleOfInterest),
            ("Ønsket bil", LeadField::VehicleOfInterest),
            ("Kilde", LeadField::Source),
        ] {
            assert_eq!(lead_field(name), Some(field), "{name}");
        }
    }

    #[test]
    fn a_name_that_we_do_not_know_means_nothing() {
        for name in [
            "",
            " ",
            "()",
            "Fødselsdato",
            "status",
            "assigned_to",
            "utm_source",
            "username",
            "filnavn",
            "123",
        ] {
            assert_eq!(lead_field(name), None, "{name}");
        }
    }

    #[test]
    fn every_column_of_ours_means_itself_and_no_name_means_two_things() {
        for (field, names) in NAMES {
            assert_eq!(lead_field(field.as_str()), Some(field));
            for name in names.split(' ') {
                assert_eq!(normalized(name), name, "is never found");
                assert_eq!(lead_field(name), Some(field), "{name} is another field's, too");
            }
        }
        assert_eq!(NAMES.map(|(field, _)| field.as_str()), LeadField::NAMES, "a field has no names");
    }

    #[test]
    fn a_full_name_is_parted_before_the_last_name() {
        let split = |name| {
            let (first, last) = split_full_name(name);
            (first.unwrap_or_default(), last.unwrap_or_default())
        };
        for (name, first, last) in [
            ("Kari Nordmann", "Kari", "Nordmann"),
            ("Kari  Anne\tNordmann ", "Kari Anne", "Nordmann"),
            ("Nordmann, Kari Anne", "Kari Anne", "Nordmann"),
            ("Erik von der Lippe", "Erik", "von der Lippe"),
            ("Ole-Jørgen Ås", "Ole-Jørgen", "Ås"),
            ("Kari", "Kari", ""),
            ("von", "von", ""),
            ("Nordmann,", "", "Nordmann"),
            (" , ", "", ""),
            ("", "", ""),
        ] {
            assert_eq!(split(name), (first.to_owned(), last.to_owned()), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn case_spaces_dashes_and_underscores_do_not_matter(
            (field, name) in (0..NAMES.len()).prop_flat_map(|n| (Just(NAMES[n].0), prop::sample::select(NAMES[n].1.split(' ').collect::<Vec<_>>()))),
            between in prop::collection::vec("[ _.-]{0,2}", 64),
            upper: bool,
        ) {
            let spread: String = name.chars().zip(&between).flat_map(|(letter, gap)| [letter.to_string(), gap.clone()]).collect();
            let spread = if upper { spread.to_uppercase() } else { spread };
            prop_assert_eq!(lead_field(&spread), Some(field));
        }

        #[test]
        fn no_name_panics_and_a_full_name_keeps_its_words(name in ".{0,60}") {
            let _ = lead_field(&name);
            let (first, last) = split_full_name(&name);
            let words = |text: &str| {
                let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
                words.sort();
                words
            };
            let parts = format!("{} {}", first.unwrap_or_default(), last.unwrap_or_default());
            prop_assert_eq!(words(&parts), words(&name.replacen(',', " ", 1)));
        }
    }
}
