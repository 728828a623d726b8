//! Numbers for people.

/// A time in milliseconds.
pub(crate) fn time(ms: f64) -> String {
    // A file may hold any number; what is shown is bounded.
    let ms = if ms.is_finite() {
        ms.clamp(0.0, 1e13)
    } else {
        0.0
    };
    let seconds = (ms / 1000.0).round() as u64;
    if ms == 0.0 {
        "0 ms".to_owned()
    } else if ms < 9.95 {
        format!("{ms:.1} ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if ms < 59_950.0 {
        format!("{:.1} s", ms / 1000.0)
    } else if seconds < 3600 {
        with_rest(seconds, 60, "min", "s")
    } else {
        with_rest(seconds / 60, 60, "h", "min")
    }
}

fn with_rest(value: u64, base: u64, unit: &str, rest_unit: &str) -> String {
    match (value / base, value % base) {
        (whole, 0) => format!("{} {unit}", count(whole)),
        (whole, rest) => format!("{} {unit} {rest:02} {rest_unit}", count(whole)),
    }
}

/// Millionths of a dollar.
pub(crate) fn dollars(micro: u64) -> String {
    match micro {
        0 => "$0".to_owned(),
        // Rounded to four digits this would be zero.
        1..100 => format!("$0.{micro:06}"),
        100..1_000_000 if !micro.is_multiple_of(10_000) => {
            let digits = (micro + 50) / 100;
            format!("${}.{:04}", digits / 10_000, digits % 10_000)
        }
        _ => {
            let cents = micro / 10_000 + u64::from(micro % 10_000 >= 5000);
            format!("${}.{:02}", count(cents / 100), cents % 100)
        }
    }
}

/// A size.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// A count, in groups of three digits.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count that has to be short.
pub(crate) fn short(number: u64) -> String {
    match number {
        0..10_000_000 => count(number),
        _ => format!("{} M", count(number / 1_000_000)),
    }
}

/// A count of things.
pub(crate) fn things(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A moment, given in milliseconds since 1970, as `2026-11-21 13:44:38 UTC`.
pub(crate) fn moment(unix_ms: u64) -> String {
    // The last second of the year 9999; what is later is no moment of a run.
    let seconds = (unix_ms / 1000).min(253_402_300_799);
    let (year, month, day) = date(seconds / 86_400);
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day, from days since 1970-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    loop {
        let length = 365 + u64::from(is_leap(year));
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_as_one_would_say_them() {
        for (ms, shown) in [
            (0.0, "0 ms"),
            (0.44, "0.4 ms"),
            (35.2, "35 ms"),
            (999.6, "1.0 s"),
            (6120.0, "6.1 s"),
            (59_990.0, "1 min"),
            (125_000.0, "2 min 05 s"),
            (11_040_000.0, "3 h 04 min"),
            (-4.0, "0 ms"),
            (f64::NAN, "0 ms"),
        ] {
            assert_eq!(time(ms), shown);
        }
    }

    #[test]
    fn small_amounts_do_not_become_nothing() {
        for (micro, shown) in [
            (0, "$0"),
            (12, "$0.000012"),
            (12_345, "$0.0123"),
            (500_000, "$0.50"),
            (999_999, "$1.0000"),
            (1_234_567_890, "$1,234.57"),
        ] {
            assert_eq!(dollars(micro), shown);
        }
    }

    #[test]
    fn sizes_counts_and_moments() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1229), "1.2 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(short(9_999_999), "9,999,999");
        assert_eq!(short(1_234_567_890), "1,234 M");
        assert_eq!(things(1, "step", "steps"), "1 step");
        assert_eq!(moment(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(moment(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(moment(1_795_268_678_123), "2026-11-21 13:44:38 UTC");
        assert_eq!(moment(u64::MAX), "9999-12-31 23:59:59 UTC");
    }

    proptest! {
        #[test]
        fn any_number_has_words(ms in proptest::num::f64::ANY, number: u64) {
            prop_assert!(time(ms).len() < 24);
            prop_assert!(dollars(number).len() < 32);
            prop_assert!(bytes(number).len() < 16);
            let _ = (moment(number), count(number));
        }
    }
}
