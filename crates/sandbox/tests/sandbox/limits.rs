//! What a session may use, and what is said when it wants more.

use crate::Behaviour;
use crate::ground::{Ground, create, run, run_for, try_run, value};
use std::time::Duration;
use ukernel_sandbox::{ExecutionContext, ExecutionEnvironment, ExecutionStatus, SandboxError};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("limits::time", time),
    ("limits::time_is_kept_by_the_host", stopped_guest),
    ("limits::output_spills_to_a_file", output),
    ("limits::files_grow_and_stop", files),
    ("limits::memory", memory),
    ("limits::source", source),
];

fn time(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "x = 41").await;
        let code = "x = 0; print('so far'); open('/tmp/f','w').write('x')\nwhile True: pass";
        let ended = run_for(&lab, code, Duration::from_millis(400)).await;
        let Err(SandboxError::TimeLimit {
            output, standing, ..
        }) = ended
        else {
            panic!("{ended:?}");
        };
        assert_eq!(output.stdout, "so far\n", "logs are kept");
        assert_eq!((standing.after, standing.run), (1, 2));
        assert!(standing.to_string().contains("before this command"));
        assert_eq!(value(&lab, "x").await, "41");
        assert_eq!(
            value(&lab, "__import__('os').path.exists('/tmp/f')").await,
            "False"
        );
        manager.stop().await;
    });
}

/// A VM that stands still altogether is ended by the time limit too.
fn stopped_guest(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "x = 1").await;
        lab.checkpoint().await.expect("a checkpoint");
        let process = lab.info().process.expect("a VM");
        crate::ground::signal(process, rustix::process::Signal::STOP);
        let ended = run_for(&lab, "x = 2", Duration::from_millis(300)).await;
        assert!(
            matches!(
                ended,
                Err(SandboxError::TimeLimit { .. } | SandboxError::VmLost { .. })
            ),
            "{ended:?}"
        );
        assert_eq!(value(&lab, "x").await, "1");
        manager.stop().await;
    });
}

fn output(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let result = run(&lab, "for i in range(3000): print(i)").await;
        let whole: String = (0..3000).map(|i| format!("{i}\n")).collect();
        assert_eq!(result.output.stdout, whole[..4096]);
        let [file] = result.files.as_slice() else {
            panic!("{result:?}");
        };
        assert_eq!(file.stream, "stdout");
        assert_eq!(file.bytes, whole.len() as u64);
        assert_eq!(file.kept_bytes, file.bytes);
        let there = lab.get_file(&file.path).await.expect("the file");
        assert_eq!(String::from_utf8(there).expect("text"), whole);
        // Exactly at the limit nothing spills.
        let result = run(&lab, "print('x' * 4095)").await;
        assert!(result.files.is_empty(), "{:?}", result.files);
        manager.stop().await;
    });
}

fn files(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        // Past the first size, below the last.
        run(&lab, "f = open('/tmp/big', 'wb'); f.write(bytes(30_000_000)); f.close()").await;
        let full = try_run(
            &lab,
            "with open('/tmp/more', 'wb') as f:\n  for _ in range(60): f.write(bytes(1_000_000)); f.flush()",
        )
        .await
        .expect("a result");
        let ExecutionStatus::Exception { exception, .. } = &full.status else {
            panic!("{full:?}");
        };
        assert_eq!(exception, "OSError");
        run(&lab, "import os; os.remove('/tmp/more'); open('/tmp/ok', 'w').write('x')").await;
        manager.stop().await;
    });
}

fn memory(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let hog = try_run(&lab, "y = [bytes(10_000_000) for _ in range(60)]")
            .await
            .expect("a result");
        let ExecutionStatus::Exception { exception, .. } = &hog.status else {
            panic!("{hog:?}");
        };
        assert_eq!(exception, "MemoryError");
        assert_eq!(value(&lab, "1 + 1").await, "2");
        manager.stop().await;
    });
}

fn source(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let long = format!("x = {:?}", "y".repeat(2_000_000));
        run(&lab, &long).await;
        assert_eq!(value(&lab, "len(x)").await, "2000000");
        let context = ExecutionContext::default();
        let too_long = lab.execute_code(&"#".repeat(17 << 20), &context).await;
        assert!(matches!(too_long, Err(SandboxError::Limit { .. })));
        manager.stop().await;
    });
}
