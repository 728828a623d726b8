//! What lines of a Dockerfile say in the language of shells: the little of it that lists packages need.

/// What a command asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) packages: Vec<String>,
    pub(super) pip: Vec<String>,
    pub(super) requirement_files: Vec<String>,
}

/// The commands of a line that are joined by `&&` or `;`, as words. What a shell would do more with is refused.
pub(super) fn commands(line: &str) -> Result<Vec<Vec<String>>, String> {
    let joined = without_continuations(line);
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut rest = joined.chars().peekable();
    let refused = |what: char| {
        Err(format!(
            "`{what}` in RUN is not supported: only apt-get install and pip install are, joined by &&"
        ))
    };
    while let Some(next) = rest.next() {
        match next {
            ' ' | '\t' | '\r' | '\n' => end(&mut commands, &mut word),
            '&' if rest.next_if_eq(&'&').is_some() => {
                end(&mut commands, &mut word);
                commands.push(Vec::new());
            }
            ';' => {
                end(&mut commands, &mut word);
                commands.push(Vec::new());
            }
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some(end) if end == next => break,
                        Some(special @ ('$' | '`' | '\\')) if next == '"' => {
                            return refused(special);
                        }
                        Some(inside) => word.push(inside),
                        None => return Err("a quote in RUN has no end".to_owned()),
                    }
                }
            }
            '$' | '`' | '\\' | '|' | '&' | '<' | '>' | '(' | ')' | '{' | '}' | '#'
                if next != '#' || word.is_none() =>
            {
                // `pkg{1,2}` and the like; a requirement's `>` is quoted where a shell reads it.
                return refused(next);
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    end(&mut commands, &mut word);
    commands.retain(|words| !words.is_empty());
    Ok(commands)
}

fn end(commands: &mut [Vec<String>], word: &mut Option<String>) {
    if let (Some(command), Some(word)) = (commands.last_mut(), word.take()) {
        command.push(word);
    }
}

/// Joins lines that go on; lines of comments between them are none.
fn without_continuations(line: &str) -> String {
    let mut joined = String::new();
    for (at, part) in line.lines().enumerate() {
        if at > 0 && part.trim_start().starts_with('#') {
            continue;
        }
        let part = part.trim_end();
        joined.push_str(part.strip_suffix('\\').unwrap_or(part));
        joined.push(' ');
    }
    joined
}

/// What a command means for an image.
pub(super) fn meaning(words: &[String]) -> Result<Asked, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // Variables before a command are for its questions, which are not asked here.
    let skipped = words
        .iter()
        .take_while(|word| word.starts_with("DEBIAN_FRONTEND="));
    let words = &words[skipped.count()..];
    match words {
        ["apt-get" | "apt", rest @ ..] => apt(rest),
        ["pip" | "pip3", rest @ ..] | ["python" | "python3", "-m", "pip", rest @ ..] => pip(rest),
        ["rm", "-rf" | "-fr", places @ ..] if places.iter().all(|place| is_of_apt(place)) => {
            Ok(Asked::default())
        }
        _ => {
            let shown: String = words.join(" ").escape_debug().take(60).collect();
            Err(format!(
                "RUN {shown}: only apt-get install and pip install are supported; what is to be there otherwise can come by COPY"
            ))
        }
    }
}

fn is_of_apt(place: &str) -> bool {
    ["/var/lib/apt/", "/var/cache/apt", "/root/.cache"]
        .iter()
        .any(|folder| place.starts_with(folder))
        && !place.contains("..")
}

fn apt(words: &[&str]) -> Result<Asked, String> {
    const HARMLESS: [&str; 8] = [
        "-y",
        "--yes",
        "-q",
        "-qq",
        "-yq",
        "-qy",
        "--no-install-recommends",
        "--assume-yes",
    ];
    let mut plain = Vec::new();
    for word in words {
        if !word.starts_with('-') {
            plain.push(*word);
        } else if !HARMLESS.contains(word) {
            return Err(format!(
                "the option {} of apt-get is not supported",
                word.escape_debug()
            ));
        }
    }
    match plain[..] {
        ["update" | "clean" | "autoremove" | "autoclean"] => Ok(Asked::default()),
        ["install", ref packages @ ..] if !packages.is_empty() => Ok(Asked {
            packages: packages.iter().map(|name| (*name).to_owned()).collect(),
            ..Asked::default()
        }),
        _ => Err("of apt-get only update, install and clean are supported".to_owned()),
    }
}

fn pip(words: &[&str]) -> Result<Asked, String> {
    const HARMLESS: [&str; 9] = [
        "--no-cache-dir",
        "--upgrade",
        "-U",
        "-q",
        "--quiet",
        "--break-system-packages",
        "--root-user-action=ignore",
        "--disable-pip-version-check",
        "--no-input",
    ];
    let mut asked = Asked::default();
    let mut words = words.iter().filter(|word| !HARMLESS.contains(*word));
    if words.next() != Some(&"install") {
        return Err("of pip only install is supported".to_owned());
    }
    while let Some(word) = words.next() {
        match *word {
            "-r" | "--requirement" => {
                let path = words.next().ok_or("-r names no file")?;
                asked.requirement_files.push((*path).to_owned());
            }
            option if option.starts_with('-') => {
                return Err(format!(
                    "the option {} of pip is not supported",
                    option.escape_debug()
                ));
            }
            // The guest's own installs the rest; it is Debian's.
            "pip" | "setuptools" | "wheel" => {}
            requirement => asked.pip.push(requirement.to_owned()),
        }
    }
    Ok(asked)
}

/// The requirements of a file as pip reads them; one per line.
pub(super) fn requirements(content: &[u8]) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(content).map_err(|_| "the file of requirements is no text")?;
    let lines = text.lines().map(|line| {
        let line = line.split_once(" #").map_or(line, |(line, _)| line).trim();
        line.split_whitespace().collect::<String>()
    });
    Ok(lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect())
}

/// Names and values of ENV, in both of its forms.
pub(super) fn variables(text: &str) -> Result<Vec<(String, String)>, String> {
    let text = without_continuations(text);
    let text = text.trim();
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let first = text.split_whitespace().next().unwrap_or_default();
    let pairs = if first.contains('=') {
        pairs(text)?
    } else {
        let (name, value) = text.split_once([' ', '\t']).ok_or("ENV has no value")?;
        vec![(name.to_owned(), value.trim().to_owned())]
    };
    let strange = pairs
        .iter()
        .find(|(name, value)| !is_name(name) || value.contains(['\n', '\0']));
    match strange {
        Some((name, _)) => Err(format!(
            "ENV {}: the name or value is none",
            name.escape_debug()
        )),
        None => Ok(pairs),
    }
}

/// NAME=VALUE pairs with quotes.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = text.chars().peekable();
    while rest.peek().is_some() {
        let mut word = String::new();
        while let Some(next) = rest.next_if(|next| !next.is_whitespace()) {
            match next {
                '\\' => word.extend(rest.next()),
                '\'' | '"' => loop {
                    match rest.next() {
                        Some(end) if end == next => break,
                        // What is escaped stays for `expand`, but for quotes.
                        Some('\\') if next == '"' && rest.peek() == Some(&'"') => {
                            word.extend(rest.next())
                        }
                        Some('$') if next == '\'' => {
                            return Err("`$` in single quotes is not supported".to_owned());
                        }
                        Some(inside) => word.push(inside),
                        None => return Err("a quote in ENV has no end".to_owned()),
                    }
                },
                other => word.push(other),
            }
        }
        if !word.is_empty() {
            let pair = word.split_once('=').ok_or("ENV takes NAME=VALUE pairs")?;
            pairs.push((pair.0.to_owned(), pair.1.to_owned()));
        }
        while rest.next_if(|next| next.is_whitespace()).is_some() {}
    }
    Ok(pairs)
}

/// Puts in the values of `$NAME` and `${NAME}`. An unknown one is an error.
pub(super) fn expand<'a>(
    text: &str,
    value: impl Fn(&str) -> Option<&'a str>,
) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, behind) = match after.strip_prefix('{') {
            Some(inside) => inside.split_once('}').ok_or("a `${` has no end")?,
            None => {
                let end = after.find(|next: char| !next.is_ascii_alphanumeric() && next != '_');
                after.split_at(end.unwrap_or(after.len()))
            }
        };
        let known = value(name);
        let known = known
            .ok_or_else(|| format!("the variable `{}` is not known here", name.escape_debug()))?;
        expanded.push_str(known);
        if expanded.len() > 1 << 20 {
            return Err("a value is too long".to_owned());
        }
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(expanded)
}
