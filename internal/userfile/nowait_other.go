//go:build !unix

package userfile

const noWait = 0
