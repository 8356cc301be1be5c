//! The words of an expression.

use super::ratio::Ratio;

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Number(Ratio),
    /// In single quotes.
    Text(String),
    /// A parameter or a function.
    Name(String),
    /// One of [`SYMBOLS`].
    Symbol(&'static str),
}

/// A word, and the number of its first character, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) at: usize,
}

/// The longer ones first: `<=` is not `<`.
const SYMBOLS: [&str; 18] = ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "!", "?", ":", "(", ")", ","];

impl Token {
    /// As it is quoted in an error.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Number(number) => format!("`{number}`"),
            Self::Text(text) => format!("`'{text}'`"),
            Self::Name(name) => format!("`{name}`"),
            Self::Symbol(symbol) => format!("`{symbol}`"),
        }
    }
}

/// All words of `text`; or what cannot be read, and where.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text.chars().count() - rest.chars().count() + 1;
        let Some(first) = rest.chars().next() else { return Ok(found) };
        let (token, after) = token(first, rest).map_err(|reason| format!("character {at}: {reason}"))?;
        found.push(Placed { token, at });
        rest = after;
    }
}

fn token(first: char, rest: &str) -> Result<(Token, &str), String> {
    let split = |is_part: fn(char) -> bool| rest.split_at(rest.find(|c: char| !is_part(c)).unwrap_or(rest.len()));
    if first.is_ascii_digit() {
        let (number, after) = split(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_');
        let value = Ratio::decimal(number)
            .ok_or_else(|| format!("`{number}` is not a number: write it as `12` or `2.5`, with 18 digits at most"))?;
        return Ok((Token::Number(value), after));
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let (name, after) = split(|c| c.is_ascii_alphanumeric() || c == '_');
        return Ok((Token::Name(name.to_owned()), after));
    }
    if let Some(quoted) = rest.strip_prefix('\'') {
        let (inside, after) = quoted.split_once('\'').ok_or("this text has no second `'`")?;
        return Ok((Token::Text(inside.to_owned()), after));
    }
    let symbol = SYMBOLS.into_iter().find_map(|symbol| Some((Token::Symbol(symbol), rest.strip_prefix(symbol)?)));
    symbol.ok_or_else(|| format!("`{first}` means nothing here"))
}
