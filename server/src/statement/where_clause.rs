//! `WHERE`: which keys.

use super::error::Failure;
use super::token::Tokens;
use bytes::Bytes;
use skink_engine::command::{MAX_KEY_LEN, MAX_RANGE_LIMIT, Pattern, Range, RangeQuery};
use std::ops::Bound;

/// What follows `WHERE`: conditions joined by `AND`, without a limit.
pub(super) fn conditions(tokens: &mut Tokens<'_>) -> Result<RangeQuery, Failure> {
    let mut query = RangeQuery::new(Range::all(), MAX_RANGE_LIMIT);
    loop {
        tokens.require_keyword("KEY")?;
        let (_, offset) = tokens.peek()?;
        let range = if tokens.keyword("LIKE")? {
            if query.pattern.is_some() {
                return Err(Failure::new(offset, "there can be one LIKE only"));
            }
            let (pattern, _) = tokens.text("a pattern in single quotes", "pattern", MAX_KEY_LEN)?;
            query.pattern = Some(Pattern::Like(pattern));
            Range::all()
        } else {
            comparison(tokens)?
        };
        query.range = query.range.intersect(range);
        if !tokens.keyword("AND")? {
            return Ok(query);
        }
    }
}

/// `LIMIT n`, if it is there.
pub(super) fn limit(tokens: &mut Tokens<'_>) -> Result<u32, Failure> {
    if !tokens.keyword("LIMIT")? {
        return Ok(MAX_RANGE_LIMIT);
    }
    let (number, offset) = tokens.number("a number")?;
    number.parse().ok().filter(|limit| *limit <= MAX_RANGE_LIMIT).ok_or_else(|| {
        Failure::new(offset, format!("a limit is a number from 0 to {MAX_RANGE_LIMIT}"))
            .hint("to read on, add AND KEY > the last key read")
    })
}

fn comparison(tokens: &mut Tokens<'_>) -> Result<Range, Failure> {
    let (start, end) = if tokens.symbol("=")? {
        let key = bound(tokens)?;
        (Bound::Included(key.clone()), Bound::Included(key))
    } else if tokens.symbol("<")? {
        (Bound::Unbounded, Bound::Excluded(bound(tokens)?))
    } else if tokens.symbol("<=")? {
        (Bound::Unbounded, Bound::Included(bound(tokens)?))
    } else if tokens.symbol(">")? {
        (Bound::Excluded(bound(tokens)?), Bound::Unbounded)
    } else if tokens.symbol(">=")? {
        (Bound::Included(bound(tokens)?), Bound::Unbounded)
    } else if tokens.keyword("BETWEEN")? {
        let start = bound(tokens)?;
        tokens.require_keyword("AND")?;
        (Bound::Included(start), Bound::Included(bound(tokens)?))
    } else {
        return Err(tokens.unexpected());
    };
    Ok(Range { start, end })
}

fn bound(tokens: &mut Tokens<'_>) -> Result<Bytes, Failure> {
    Ok(tokens.text("a key in single quotes", "key", MAX_KEY_LEN)?.0)
}
