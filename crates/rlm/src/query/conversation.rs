//! The conversation of a node, and how it is kept short.

use ukernel_llm::{Message, Role, estimate_tokens};

/// Messages that always stay: the rules and the question.
const FIXED: usize = 2;

/// Messages at the end that stay whole: the last two steps.
const RECENT: usize = 4;

/// What stays of an older message, in bytes.
const OLD_BYTES: usize = 400;

/// What was said, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    messages: Vec<Message>,
    /// Messages at the end that the model has not seen.
    new: usize,
}

impl Conversation {
    pub(super) fn begin(rules: String, question: &str) -> Self {
        Self {
            messages: vec![Message::system(rules), Message::user(question)],
            new: FIXED,
        }
    }

    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Those the model has not seen; from now on it has.
    pub(super) fn take_new(&mut self) -> Vec<Message> {
        let from = self.messages.len() - self.new.min(self.messages.len());
        self.new = 0;
        self.messages[from..].to_vec()
    }

    /// What the model said.
    pub(super) fn replied(&mut self, text: &str) {
        self.messages.push(Message::assistant(text));
    }

    /// What the model is told. Two in a row are one message: some providers refuse others.
    pub(super) fn tell(&mut self, text: &str) {
        match self.messages.last_mut() {
            Some(last) if last.role == Role::User => {
                last.text.push_str("\n\n");
                last.text.push_str(text);
                self.new = self.new.max(1);
            }
            _ => {
                self.messages.push(Message::user(text));
                self.new += 1;
            }
        }
    }

    /// Estimated tokens of all of it.
    pub(super) fn tokens(&self) -> u64 {
        let bytes: usize = self.messages.iter().map(|message| message.text.len()).sum();
        estimate_tokens(bytes as u64)
    }

    /// Shortens older messages, then leaves out the oldest, until it has at most so many estimated
    /// tokens or nothing is left to shorten. What code computed stays in the REPL anyway.
    pub(super) fn compact(&mut self, most_tokens: u64) {
        let old = self.messages.len().saturating_sub(RECENT);
        for at in FIXED..old {
            if self.tokens() <= most_tokens {
                return;
            }
            let message = &mut self.messages[at];
            if message.text.len() > OLD_BYTES {
                shorten(message);
            }
        }
        // Whole steps are left out, so that user and assistant still alternate.
        let mut left_out = 0;
        while self.tokens() > most_tokens && self.messages.len() >= FIXED + RECENT + 2 {
            self.messages.drain(FIXED..FIXED + 2);
            left_out += 1;
        }
        if left_out > 0
            && let Some(question) = self.messages.get_mut(FIXED - 1)
        {
            let note = "\n\n[The oldest steps are left out here. SHOW_VARS() shows what they \
                        computed.]";
            if !question.text.ends_with(note) {
                question.text.push_str(note);
            }
        }
    }

    /// The rules left out, the end of the conversation as far as it fits, and a last word.
    pub(super) fn last_words(&self, most_bytes: usize, word: &str) -> Vec<Message> {
        let mut left = most_bytes.saturating_sub(word.len());
        let mut said = Vec::new();
        for message in self.messages[FIXED.min(self.messages.len())..].iter().rev() {
            if message.text.len() > left {
                break;
            }
            left -= message.text.len();
            said.push(message);
        }
        let mut text = String::new();
        for message in said.into_iter().rev() {
            let who = match message.role {
                Role::Assistant => "You wrote:",
                Role::User | Role::System => "You were shown:",
            };
            text.push_str(who);
            text.push('\n');
            text.push_str(&message.text);
            text.push_str("\n\n");
        }
        text.push_str(word);
        vec![Message::user(text)]
    }
}

fn shorten(message: &mut Message) {
    let length = message.text.len();
    let mut end = OLD_BYTES;
    while !message.text.is_char_boundary(end) {
        end -= 1;
    }
    message.text.truncate(end);
    message.text.push_str(&format!(
        "\n[... {} bytes of an older step left out]",
        length - end
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(steps: usize) -> Conversation {
        let mut talk = Conversation::begin("rules".to_owned(), "question");
        for step in 0..steps {
            talk.replied(&format!("reply {step} {}", "é".repeat(500)));
            talk.tell(&format!("output {step} {}", "y".repeat(3000)));
        }
        talk
    }

    #[test]
    fn the_rules_the_question_and_the_last_steps_stay() {
        let mut talk = long(10);
        let before = talk.tokens();
        talk.compact(before / 2);
        assert!(talk.tokens() <= before / 2);
        let texts: Vec<_> = talk
            .messages()
            .iter()
            .map(|one| one.text.as_str())
            .collect();
        assert_eq!(texts[0], "rules");
        assert!(texts[1].starts_with("question"));
        let last = &texts[texts.len() - 2..];
        assert!(last[0].starts_with("reply 9") && last[1].len() > 3000);
        talk.compact(1);
        assert!(talk.messages()[1].text.contains("left out here"));
        let turns: Vec<_> = talk.messages().iter().map(|one| one.role).collect();
        assert!(turns.windows(2).all(|pair| pair[0] != pair[1]), "{turns:?}");
    }

    #[test]
    fn a_short_one_stays_as_it_is() {
        let mut talk = long(1);
        let before = talk.messages().to_vec();
        talk.compact(u64::MAX);
        assert_eq!(talk.messages(), before);
    }

    #[test]
    fn what_the_model_has_seen_is_not_new() {
        let mut talk = long(0);
        assert_eq!(talk.take_new().len(), 2);
        talk.replied("code");
        talk.tell("output");
        talk.tell("and a note");
        let new = talk.take_new();
        assert_eq!(new.len(), 1);
        assert_eq!(new[0].text, "output\n\nand a note");
        assert!(talk.take_new().is_empty());
    }

    #[test]
    fn the_last_words_fit() {
        let talk = long(10);
        let words = talk.last_words(8000, "now!");
        assert_eq!(words.len(), 1);
        assert!(words[0].text.len() < 8200 && words[0].text.ends_with("now!"));
        assert!(words[0].text.contains("output 9"));
        assert_eq!(talk.last_words(0, "now!")[0].text, "now!");
    }
}
