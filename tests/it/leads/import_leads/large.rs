//! As many rows as a file may have.
use std::fmt::Write;

use serde_json::json;

use super::{errors, file, import, leads, preview, refusal};
use crate::support::{World, kari};

const ROWS: usize = 10_000;

/// Every hundredth row has a fault, and every hundredth repeats the one before.
fn planted() -> (String, Vec<usize>, Vec<usize>) {
    let mut text = "Fornavn;Etternavn;E-post;Mobil;Melding\r\n".to_owned();
    let (mut faults, mut repeats) = (Vec::new(), Vec::new());
    for n in 2..ROWS + 2 {
        let email = match n % 100 {
            17 => {
                faults.push(n);
                format!("kunde{n}.example.no")
            }
            58 => {
                repeats.push(n);
                format!("KUNDE{}@example.no", n - 1)
            }
            _ => format!("kunde{n}@example.no"),
        };
        let _ = write!(text, "Åse;Ødegård {n};{email};41{:06};\"Hei;\r\njeg er nr. {n}\"\r\n", n);
    }
    (text, faults, repeats)
}

#[tokio::test]
async fn of_ten_thousand_rows_each_planted_fault_is_found_with_its_number() {
    let world = World::seeded().await;
    let (text, faults, repeats) = planted();
    let report = preview(&world, &text).await;
    assert_eq!(errors(&report), faults.iter().map(|n| (*n as u64, "email", "invalid")).collect::<Vec<_>>());
    let results = report["results"].as_array().unwrap();
    let duplicates: Vec<_> = results.iter().filter(|row| row["status"] == "duplicate").collect();
    let expected: Vec<_> =
        repeats.iter().map(|n| json!({"row": n, "status": "duplicate", "of_row": n - 1})).collect();
    assert_eq!(duplicates, expected.iter().collect::<Vec<_>>());
    assert_eq!(report["rows"], ROWS);

    let report = import(&world, &text).await;
    assert_eq!(
        (&report["created"], &report["duplicates"], &report["invalid"]),
        (&json!(ROWS - 200), &json!(100), &json!(100))
    );
    assert_eq!(import(&world, &text).await["duplicates"], ROWS - 100);
    assert_eq!(leads(&world).await, 20 + ROWS as i64 - 200);
}

#[tokio::test]
async fn of_ten_thousand_rows_without_address_and_number_none_is_imported_twice() {
    let world = World::seeded().await;
    let mut text = "Firma\n".to_owned();
    for n in 0..ROWS {
        let _ = writeln!(text, "Firma {n}");
    }
    assert_eq!(import(&world, &text).await["created"], ROWS);
    assert_eq!(import(&world, &text).await["duplicates"], ROWS);
}

#[tokio::test]
async fn errors_are_told_up_to_a_hundred_and_counted_all() {
    let world = World::seeded().await;
    let report = preview(&world, format!("E-post\n{}", "feil\n".repeat(150))).await;
    assert_eq!(
        (errors(&report).len(), &report["errors_total"], &report["invalid"]),
        (100, &json!(150), &json!(150))
    );
}

#[tokio::test]
async fn one_row_too_many_is_refused_before_the_database() {
    let world = World::seeded().await;
    let text = format!("Navn\n{}", "Kari\n".repeat(ROWS + 1));
    let reply = world.send(file(text).by(&kari())).await;
    assert_eq!(refusal(&reply), (422, "too_many_rows"));
}
