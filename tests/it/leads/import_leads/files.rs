//! Files as programs really write them.
use encoding_rs::{UTF_16LE, WINDOWS_1252};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::{errors, file, import, kept, preview, refusal, statuses};
use crate::support::leads::commit;
use crate::support::{World, cases, event, kari};

const ROWS: &str = "Fornavn;Etternavn;Melding\r\nÆrlend;Ødegård;Blåbærsyltetøy på Ås\r\n";

fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    ["\u{feff}", text].concat().encode_utf16().flat_map(bytes).collect()
}

/// The trap "iso-8859-1 import (æøå)".
#[tokio::test]
async fn iso_8859_1_and_every_other_encoding_keeps_its_letters() {
    let world = World::seeded().await;
    let windows = WINDOWS_1252.encode(ROWS).0.into_owned();
    let table = [
        ("windows-1252", windows),
        ("UTF-8", ROWS.as_bytes().to_vec()),
        ("UTF-8", ["\u{feff}", ROWS].concat().into_bytes()),
        (UTF_16LE.name(), utf_16(ROWS, u16::to_le_bytes)),
        ("UTF-16BE", utf_16(ROWS, u16::to_be_bytes)),
    ];
    for (encoding, bytes) in table {
        let report = preview(&world, bytes).await;
        assert_eq!((&report["encoding"], &report["delimiter"]), (&json!(encoding), &json!(";")));
        let row = &report["sample"][0];
        assert_eq!(
            (&row["first_name"], &row["last_name"]),
            (&json!("Ærlend"), &json!("Ødegård")),
            "{encoding}"
        );
        assert_eq!(row["message"], "Blåbærsyltetøy på Ås");
    }
    let report = world.send(commit(event("import-leads/windows-1252")).by(&kari())).await.expect(200).json;
    assert_eq!(kept(&world, &report, 0).await["first_name"], "Åse");
}

#[tokio::test]
async fn letters_that_were_lost_on_the_way_are_not_imported() {
    let world = World::seeded().await;
    let reply = world.send(event("import-leads").body("Navn\n\u{fffd}se\n").by(&kari())).await;
    assert_eq!(refusal(&reply), (422, "letters_lost"));
}

#[tokio::test]
async fn the_delimiter_is_the_one_that_makes_sense_of_the_header() {
    let world = World::seeded().await;
    for (text, delimiter) in [
        ("Fornavn,E-post\nKari,k@example.no\n", ","),
        ("Fornavn;E-post\nKari;k@example.no\n", ";"),
        ("Fornavn\tE-post\nKari\tk@example.no\n", "\t"),
        ("Navn;E-post;Merknad (pris, farge, år)\nKari;k@example.no;\n", ";"),
        ("E-post\nk@example.no\n", ","),
    ] {
        let report = preview(&world, text).await;
        assert_eq!(report["delimiter"], delimiter, "{text}");
        assert_eq!(
            (&report["new"], &report["sample"][0]["email"]),
            (&json!(1), &json!("k@example.no")),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_row_has_the_number_that_a_spreadsheet_shows_whatever_stands_before_it() {
    let world = World::seeded().await;
    for end in ["\n", "\r\n", "\r"] {
        let lines = [
            "Navn;Melding;E-post",
            "Kari;\"To\nlinjer\r\nog \"\"en\"\" til\";kari.n@example.no",
            "",
            "",
            "Ola;;feil",
            ";;",
            "  ;  ;",
            "Siri;;feil",
            "",
        ];
        let report = preview(&world, lines.join(end)).await;
        assert_eq!(statuses(&report), [(2, "new"), (5, "invalid"), (8, "invalid")], "{end:?}");
        assert_eq!(errors(&report), [(5, "email", "invalid"), (8, "email", "invalid")]);
        assert_eq!(report["sample"][0]["message"], "To\nlinjer\r\nog \"en\" til");
        let report = preview(&world, ["", "", &lines.join(end)].join(end)).await;
        assert_eq!(statuses(&report), [(4, "new"), (7, "invalid"), (10, "invalid")], "{end:?}");
    }
}

#[tokio::test]
async fn a_quotation_mark_that_is_never_closed_is_an_error_and_swallows_nothing_silently() {
    let world = World::seeded().await;
    let report = preview(&world, "Navn,Melding\nKari,Hei\nOla,\"Hei\nSiri,Hei\nPer,Hei").await;
    assert_eq!(statuses(&report), [(2, "new"), (3, "invalid")]);
    assert_eq!(errors(&report), [(3, "", "invalid")]);
    let reply = world.send(file("Navn,\"Melding\nKari,Hei\n").by(&kari())).await;
    assert_eq!(refusal(&reply), (422, "unclosed_header"));
    // A mark in the middle of a cell is a mark.
    let report = preview(&world, "Navn,Melding\nKari,Skjerm på 5\"\nOla,Hei").await;
    assert_eq!(statuses(&report), [(2, "new"), (3, "new")]);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_in_one_word() {
    let world = World::seeded().await;
    let wide = "Navn,".repeat(101);
    let table: [(&[u8], &str); 9] = [
        (b"", "empty_file"),
        (b"\n\r\n\n", "empty_file"),
        (b"\xef\xbb\xbf", "empty_file"),
        (b"Farge;Hjul\nred;4\n", "unknown_columns"),
        (b"Kari;kari@example.no\n", "unknown_columns"),
        (b"\x89PNG\r\n\x1a\n\0\0", "unknown_columns"),
        (b"\xef\xbb\xbfNavn\n\xff\xfe\n", "unreadable_text"),
        (b"\xff\xfeN\0a\0v\0n\0\n", "unreadable_text"),
        (wide.as_bytes(), "too_many_columns"),
    ];
    for (bytes, code) in table {
        let reply = world.send(file(bytes).by(&kari())).await;
        assert_eq!(refusal(&reply), (422, code), "{}", String::from_utf8_lossy(bytes));
    }
    let report = preview(&world, "Navn;E-post").await;
    assert_eq!((&report["rows"], &report["results"]), (&json!(0), &json!([])));
}

#[tokio::test]
async fn a_file_comes_under_three_content_types() {
    let world = World::seeded().await;
    for (content_type, status) in [
        ("text/csv", 200),
        ("Text/CSV; charset=utf-8", 200),
        ("application/octet-stream", 200),
        ("application/vnd.ms-excel", 200),
        ("text/plain", 415),
        ("application/json", 415),
        ("", 415),
    ] {
        let event = file("Navn\nKari\n").header("content-type", content_type);
        world.send(event.by(&kari())).await.expect(status);
    }
}

#[tokio::test]
async fn what_people_put_before_a_number_to_keep_it_is_taken_away() {
    let world = World::seeded().await;
    let report = import(&world, "Navn,Telefon\nKari,'+47 912 34 505\nOla,'+46701234567\n").await;
    assert_eq!(kept(&world, &report, 0).await["phone"], "+47 912 34 505");
    assert_eq!(kept(&world, &report, 1).await["phone_e164"], "+46701234567");
}

#[test]
fn no_file_breaks_anything_and_every_row_is_accounted_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::seeded());
    let soup = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "(\u{feff})?(Navn|E-post|Telefon)[;,\t](Melding|X)(\r\n|\n|\r)([a-zå@.'=+\"0-9;,\t \r\n]{0,20}(\r\n|\n|\r|\")){0,8}"
            .prop_map(String::into_bytes),
    ];
    TestRunner::new(cases(100))
        .run(&soup, |bytes| {
            let reply = runtime.block_on(world.send(file(bytes).by(&kari())));
            prop_assert!(matches!(reply.status, 200 | 422), "{} {}", reply.status, reply.json);
            if reply.status == 200 {
                let count = |name: &str| reply.json[name].as_u64().unwrap();
                let rows = statuses(&reply.json);
                prop_assert_eq!(count("rows"), count("new") + count("duplicates") + count("invalid"));
                prop_assert_eq!(count("rows"), rows.len() as u64);
                prop_assert!(
                    rows.windows(2).all(|two| two[0].0 < two[1].0) && rows.iter().all(|row| row.0 > 1)
                );
            }
            Ok(())
        })
        .unwrap();
}
