//! Hosts that are killed keep what they said they would.

use remote::client::{Answer, Caught, Client, ClientError};
use remote::model::DigitsInput;

use crate::common::{child, client, images, receipt_size};

/// Asks a host, kills it, starts it again, and challenges everything: who was opened.
fn over_a_restart(arguments: &[&str], images: &[DigitsInput]) -> Vec<(Answer, bool)> {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [&["--folder", folder.path().to_str().unwrap()], arguments].concat();
    let host = child(&arguments);
    let before = client(host.url());
    let answers: Vec<Answer> = images.iter().map(|image| before.ask(image).unwrap()).collect();
    host.kill().unwrap();

    let host = child(&arguments);
    let mut after = client(host.url());
    let opened =
        images.iter().zip(&answers).map(|(image, answer)| opened(&mut after, image, answer));
    let opened: Vec<bool> = opened.collect();
    // And it goes on as before.
    let summary = after.run(&images[..3], false, |_, _| {}).unwrap();
    assert!(summary.caught.is_empty(), "{summary}");
    host.stop().unwrap();
    answers.into_iter().zip(opened).collect()
}

fn opened(client: &mut Client, image: &DigitsInput, answer: &Answer) -> bool {
    match client.check(image, answer) {
        Ok(_) => true,
        Err(ClientError::Caught(Caught::Broken { survives_restart, source, .. })) => {
            assert_eq!(survives_restart, answer.response.survives_restart);
            assert!(matches!(*source, ClientError::Host { status: 404, .. }), "{source}");
            false
        }
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn disk_first_loses_nothing() {
    let outcome = over_a_restart(&["--durability", "disk-first"], &images(25));
    assert!(outcome.iter().all(|(answer, opened)| answer.response.survives_restart && *opened));
}

#[test]
fn memory_first_loses_what_it_said() {
    let outcome = over_a_restart(&["--durability", "memory-first"], &images(25));
    for (answer, opened) in outcome {
        assert_eq!(answer.response.survives_restart, opened);
    }
}

#[test]
fn memory_first_keeps_what_went_to_disk() {
    // Room in memory for a few: the oldest are on disk when the host is killed.
    let images = images(25);
    let memory = (10 * receipt_size()).to_string();
    let outcome = over_a_restart(&["--durability", "memory-first", "--memory", &memory], &images);
    for (answer, opened) in &outcome {
        assert!(*opened || !answer.response.survives_restart);
    }
    let kept = outcome.iter().filter(|(_, opened)| *opened).count();
    assert!((1..25).contains(&kept), "{kept}");
    // The youngest are those that are lost.
    assert!(outcome[..kept].iter().all(|(_, opened)| *opened));
}
