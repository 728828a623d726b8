//! Sessions outlive the manager.

use crate::Behaviour;
use crate::ground::{Ground, OWNER, create, run, value};
use std::fs;
use ukernel_sandbox::ExecutionEnvironment;

pub const BEHAVIOURS: &[Behaviour] = &[
    ("restart::sessions_and_snapshots_come_back", back),
    ("restart::what_cannot_come_back_is_reported", lost),
    ("restart::a_clock_set_back_gives_no_time", clock),
];

fn back(ground: &Ground) {
    let manager = ground.manager();
    let (id, snapshot) = ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "x = 1; open('/tmp/f', 'w').write('kept')").await;
        let snapshot = lab.create_snapshot("one").await.expect("a snapshot");
        run(&lab, "x = 2").await;
        manager.stop().await;
        (lab.id(), snapshot)
    });
    let manager = ground.manager();
    ground.run(async {
        assert!(manager.lost(OWNER).is_empty());
        let lab = manager.find(OWNER, "lab").expect("back");
        assert_eq!(lab.id(), id);
        assert!(
            lab.info()
                .recovered
                .expect("a note")
                .contains("after command 2")
        );
        assert_eq!(value(&lab, "x, open('/tmp/f').read()").await, "(2, 'kept')");
        lab.restore_snapshot(&snapshot).await.expect("back");
        assert_eq!(value(&lab, "x").await, "1");
        assert!(manager.find(OWNER + 1, "lab").is_err());
        manager.stop().await;
    });
}

fn lost(ground: &Ground) {
    let manager = ground.manager();
    let ids = ground.run(async {
        let mut ids = Vec::new();
        for name in ["good", "flipped", "record", "foreign"] {
            let session = create(&manager, name).await;
            run(&session, "x = 1").await;
            ids.push(session.id().to_string());
        }
        manager.stop().await;
        ids
    });
    let folder = |number: usize| ground.sessions_folder().join(&ids[number]);
    let checkpoint = folder(1).join("checkpoint-1");
    let file = fs::read_dir(checkpoint)
        .expect("a checkpoint")
        .map(|entry| entry.expect("an entry").path())
        .max_by_key(|path| fs::metadata(path).expect("a file").len())
        .expect("a file");
    let mut content = fs::read(&file).expect("read");
    content[5000] ^= 1;
    fs::write(&file, content).expect("written");
    fs::write(folder(2).join("session.json"), "{").expect("written");
    let record = fs::read_to_string(folder(3).join("session.json")).expect("read");
    let mut record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    record["template"] = "another".into();
    fs::write(folder(3).join("session.json"), record.to_string()).expect("written");
    fs::create_dir(ground.sessions_folder().join("..nonsense")).expect("a folder");

    let manager = ground.manager();
    ground.run(async {
        let good = manager.find(OWNER, "good").expect("back");
        assert_eq!(value(&good, "x").await, "1");
        let lost = manager.lost(OWNER);
        let reason = |id: &str| {
            let found = lost.iter().find(|lost| lost.id == id);
            found.expect("reported").reason.clone()
        };
        assert!(reason(&ids[1]).contains("checksum"), "{}", reason(&ids[1]));
        assert!(reason(&ids[2]).contains("record"), "{}", reason(&ids[2]));
        assert!(
            reason(&ids[3]).contains("another guest"),
            "{}",
            reason(&ids[3])
        );
        assert_eq!(lost.len(), 4, "{lost:?}");
        assert!(manager.forget_lost(OWNER, "flipped").expect("forgotten"));
        assert!(!folder(1).exists());
        assert!(!manager.forget_lost(OWNER, "flipped").expect("asked"));
        manager.stop().await;
    });
}

fn clock(ground: &Ground) {
    let manager = ground.manager();
    let id = ground.run(async {
        let lab = create(&manager, "lab").await;
        manager.stop().await;
        lab.id().to_string()
    });
    let path = ground.sessions_folder().join(id).join("session.json");
    let record = fs::read_to_string(&path).expect("read");
    let mut record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    for (expires, is_back) in [(u64::MAX, true), (1, false)] {
        record["expires_ms"] = expires.into();
        fs::write(&path, record.to_string()).expect("written");
        let manager = ground.manager();
        ground.run(async {
            match manager.find(OWNER, "lab") {
                Ok(lab) => {
                    assert!(is_back);
                    // The life of a session and its extensions, not for ever.
                    assert!(lab.remaining().as_secs() <= 3600 + 3 * 1800);
                }
                Err(_) => {
                    assert!(!is_back);
                    assert!(manager.lost(OWNER)[0].reason.contains("expired"));
                }
            }
            manager.stop().await;
        });
    }
}
