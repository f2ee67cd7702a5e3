package awsfake

import (
	"encoding/hex"
	"strconv"
)

// hexID is 17 hexadecimal digits, as in "i-0123456789abcdef0".
func hexID(a *AWS, f *fleet, kind string, n int) string {
	return "0" + hex.EncodeToString(a.derive("id", f.account, f.region, kind, strconv.Itoa(n)))[:16]
}
