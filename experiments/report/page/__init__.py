"""The one page of a run: `page` gathers what it says, `render` fills the templates."""
