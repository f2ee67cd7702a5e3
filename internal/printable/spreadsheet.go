package printable

import "regexp"

var (
	// A spreadsheet takes a cell for a formula if it begins so. In many countries spreadsheets split CSV at semicolons or
	// tabs, and then ignore quotes in the middle of a cell, so that a formula may begin after any of them.
	formulaStart = regexp.MustCompile(`(^|[;\t\r\n])([ \v\f\p{Z}]*[=+\-@＝＋－＠][^;\t\r\n])`)
	number       = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)
)

// SpreadsheetCell returns the text of a CSV cell so that no spreadsheet runs it as a formula: it puts an apostrophe
// where a formula could begin. Numbers stay as they are.
// https://owasp.org/www-community/attacks/CSV_Injection
func SpreadsheetCell(s string) string {
	if number.MatchString(s) {
		return s
	}
	return formulaStart.ReplaceAllString(s, "$1'$2")
}
